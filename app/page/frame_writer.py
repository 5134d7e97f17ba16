"""The answers that consist of frames: what a load found, put into the layout that `frames` draws.

With `?lz4=1` the block that is kept is handed on as it is, but never unseen: each page is decoded and checked first.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.errors import PageCorrupt
from app.page.classify import WORD_BYTES, Kind
from app.page.codec import ABSENT, CORRUPT, address_mixes, open_envelope, open_lz4
from app.page.frames import BLOCK_HEAD, HEADER, RESERVED, FrameKind

_DATA, _ZERO, _SAME, _LZ4 = FrameKind.DATA, FrameKind.ZERO, FrameKind.SAME, FrameKind.LZ4
_ABSENT, _CORRUPT = FrameKind.ABSENT, FrameKind.CORRUPT
_KIND_ZERO, _KIND_SAME, _KIND_COMPRESSED = Kind.ZERO, Kind.SAME, Kind.COMPRESSED
_pack_header = HEADER.pack
_pack_block_head = BLOCK_HEAD.pack


class FrameWriter:
    """Renders what a load found as the frames of one answer; every page is decoded and checked on the way.

    `add` the extents in the order asked for, then `finish`. Neighbouring pages of one kind share a frame, also those
    of two calls of `add`.
    """

    def __init__(self, page_size: int, *, with_lz4: bool) -> None:
        self.states = bytearray()
        """What became of each page so far: a Kind, ABSENT or CORRUPT; `states.count(ABSENT)` counts misses."""
        self._page_size = page_size
        self._with_lz4 = with_lz4
        self._buffers: list[bytes] = []
        # The frame being written, and the offset behind its last page.
        self._kind: FrameKind | None = None
        self._word = b""
        self._gap = self._first = self._next = 0

    def add(self, type_: int, offset: int, held: Iterable[bytes | None]) -> None:
        """Add consecutive pages from `offset` on: for each None (absent), ZERO_BLOB, or its blob.

        A page known to be damaged though there is no blob to show for it is added as UNREADABLE_BLOB.
        """
        states, append = self.states, self._buffers.append
        page_size, with_lz4 = self._page_size, self._with_lz4
        origin = offset - len(states)
        if offset != self._next:
            self._close()
        frame_kind, frame_word = self._kind, self._word
        word = b""
        for blob, mix in zip(held, address_mixes(type_, offset), strict=False):
            payload = b""
            try:
                if blob is None:
                    state, kind = ABSENT, _ABSENT
                elif not blob:
                    state, kind = _KIND_ZERO, _ZERO
                elif with_lz4 and (found := open_lz4(blob, page_size, mix)) is not None:
                    state, kind = _KIND_COMPRESSED, _LZ4
                    payload, digest = found
                else:
                    state, kind, word, payload = self._decode(blob, mix)
            except PageCorrupt:
                state, kind = CORRUPT, _CORRUPT
            if kind is not frame_kind or (kind is _SAME and word != frame_word):
                self._open(kind, word, origin + len(states))
                frame_kind, frame_word = kind, word
            states.append(state)
            if kind is _LZ4:
                append(_pack_block_head(len(payload), digest))
            if payload:
                append(payload)
        self._next = origin + len(states)

    def _decode(self, blob: bytes, mix: int) -> tuple[int, FrameKind, bytes, bytes]:
        """State, kind of frame, word and payload of a page that goes as what it decodes to."""
        page, _, kind = open_envelope(blob, self._page_size, mix)
        return (kind, _SAME, page[:WORD_BYTES], b"") if kind is _KIND_SAME else (kind, _DATA, b"", page)

    def finish(self) -> list[bytes]:
        """The whole answer, its end frame included, as buffers to be sent one after another; call it once."""
        self._close()
        self._buffers.append(_pack_header(0, len(self.states), FrameKind.END, RESERVED))
        return self._buffers

    def _open(self, kind: FrameKind, word: bytes, at: int) -> None:
        """Begin a frame, whose header is a gap in the buffers until its count is known."""
        self._next = at
        self._close()
        self._kind, self._word, self._first = kind, word, at
        self._gap = len(self._buffers)
        self._buffers.append(b"")

    def _close(self) -> None:
        """Fill in the header of the frame being written, if there is one."""
        if self._kind is None:
            return
        header = _pack_header(self._first, self._next - self._first, self._kind, RESERVED)
        self._buffers[self._gap] = header + self._word if self._kind is _SAME else header
        self._kind = None
