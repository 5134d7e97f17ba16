"""What must hold of the frame parser for any input at all; hypothesis and atheris both drive it."""

from __future__ import annotations

from app.errors import BadFrame
from app.page.classify import Kind
from app.page.codec import EncodedPages, Encoder, decode
from app.page.frames import parse
from app.settings import CompressorName

PAGE_SIZE = 4096
MAX_PAGES = 8
OFFSET = 1000
TYPE = 3
EXTENT_BYTES = MAX_PAGES * PAGE_SIZE

_ENCODER = Encoder(PAGE_SIZE, CompressorName.LZ4)


def parse_or_refuse(body: bytes | bytearray) -> EncodedPages | None:
    """Parse a body; None where it is refused, as any wrong one must be: every other exception is a defect.

    What is accepted must be storable as it is: offsets ascending and inside the extent, every blob decoding to one
    page of the kind it is filed under.
    """
    try:
        pages = parse(body, OFFSET, MAX_PAGES, PAGE_SIZE, TYPE, _ENCODER)
    except BadFrame as error:
        position = error.members["position"]
        assert isinstance(position, int)
        assert 0 <= position <= len(body)
        return None
    assert 0 < len(pages) == len(pages.offsets) == len(pages.blobs) <= MAX_PAGES
    assert list(pages.offsets) == sorted(set(pages.offsets))
    assert pages.offsets[0] >= OFFSET
    assert pages.offsets[-1] < OFFSET + MAX_PAGES
    for offset, kind, blob in zip(pages.offsets, pages.kinds, pages.blobs, strict=True):
        if kind == Kind.ZERO:
            assert blob == b""
        else:
            assert decode(blob, PAGE_SIZE, TYPE, offset)[2] == kind
    return pages
