"""The answers that consist of frames: what a load found, put into the layout that `frames` draws.

With `?lz4=1` the block that is kept is handed on as it is, but never unseen: each page is decoded and checked first.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.errors import PageCorrupt
from app.page.classify import WORD_BYTES, Kind
from app.page.codec import ABSENT, CORRUPT, address_mixes, lz4_block, open_envelope
from app.page.frames import BLOCK_HEAD, HEADER, RESERVED, FrameKind

_DATA, _ZERO, _SAME, _LZ4 = FrameKind.DATA, FrameKind.ZERO, FrameKind.SAME, FrameKind.LZ4
_ABSENT, _CORRUPT = FrameKind.ABSENT, FrameKind.CORRUPT
_KIND_ZERO, _KIND_SAME = Kind.ZERO, Kind.SAME
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
        # The frame being written. Its header is a gap in the buffers until its count is known.
        self._kind: FrameKind | None = None
        self._gap = 0
        self._first = 0
        self._count = 0
        self._word = b""

    def add(self, type_: int, offset: int, held: Iterable[bytes | None]) -> None:
        """Add consecutive pages from `offset` on: for each None (absent), ZERO_BLOB, or its blob.

        A page known to be damaged though there is no blob to show for it is added as UNREADABLE_BLOB.
        """
        states = self.states
        append = self._buffers.append
        if offset != self._first + self._count:
            self._close()
        for blob, mix in zip(held, address_mixes(type_, offset), strict=False):
            state, kind, payload = self._look(blob, mix)
            states.append(state)
            if kind is not self._kind or (kind is _SAME and payload != self._word):
                self._close()
                self._kind, self._first, self._word = kind, offset, payload
                self._gap = len(self._buffers)
                append(b"")
            self._count += 1
            offset += 1
            if kind is _DATA or kind is _LZ4:
                append(payload)

    def finish(self) -> list[bytes]:
        """The whole answer, its end frame included, as buffers to be sent one after another; call it once."""
        self._close()
        self._buffers.append(_pack_header(0, len(self.states), FrameKind.END, RESERVED))
        return self._buffers

    def _look(self, blob: bytes | None, mix: int) -> tuple[int, FrameKind, bytes]:
        """State, kind of frame, and payload of a page; of a same-filled one the word, which its frame bears once."""
        if blob is None:
            return ABSENT, _ABSENT, b""
        if not blob:
            return _KIND_ZERO, _ZERO, b""
        try:
            page, digest, kind = open_envelope(blob, self._page_size, mix)
        except PageCorrupt:
            return CORRUPT, _CORRUPT, b""
        if kind is _KIND_SAME:
            return kind, _SAME, page[:WORD_BYTES]
        if self._with_lz4 and (block := lz4_block(blob)) is not None and len(block) < self._page_size:
            return kind, _LZ4, _pack_block_head(len(block), digest) + block
        return kind, _DATA, page

    def _close(self) -> None:
        """Fill in the header of the frame being written, if there is one."""
        if self._kind is None:
            return
        header = _pack_header(self._first, self._count, self._kind, RESERVED)
        self._buffers[self._gap] = header + self._word if self._kind is _SAME else header
        self._kind = None
        self._count = 0
