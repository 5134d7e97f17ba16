r"""The envelope: how a page that is not zero is kept in Redis.

    byte  0        1                                9
          +--------+--------------------------------+------------- … -+
          | v | f  | XXH3-64(page) ^ mix(address)   | payload         |
          +--------+--------------------------------+------------- … -+
           4b  4b   64 bits, little-endian

    v  the envelope's version, 1
    f  the payload's form: 0 the page itself (raw), 1 an LZ4 block, 2 a zstd frame, 3 the word of a same-filled page

The digest is bound to the address, so that a blob that belongs elsewhere (a reply shifted by one, a key copied by hand)
is caught by the same check as a flipped bit, and a load knows the ETag before it decodes. A zero page has no envelope.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from xxhash import xxh3_64_intdigest

from app.errors import PageCorrupt
from app.page.classify import WORD_BYTES, Kind, same_word, zero_page
from app.page.compressors import COMPRESSORS, DECOMPRESSORS, LZ4_ID, Compress, DecodeError
from app.settings import CompressorName

ENVELOPE_BYTES: Final = 9
VERSION: Final = 1

_MASK: Final = (1 << 64) - 1
_TYPE_FACTOR: Final = 0x9E37_79B9_7F4A_7C15
_OFFSET_FACTOR: Final = 0xC2B2_AE3D_27D4_EB4F

_FORM_RAW: Final = 0
_FORM_SAME: Final = 3
_HEAD = Struct("<BQ")
_pack_head = _HEAD.pack
_unpack_head = _HEAD.unpack_from

digest_of = xxh3_64_intdigest
"""XXH3-64 of a page's bytes, as a number; in hexadecimal it is the page's ETag."""


def _leading_byte(form: int) -> int:
    return VERSION << 4 | form


_LEAD_RAW: Final = _leading_byte(_FORM_RAW)
_LEAD_SAME: Final = _leading_byte(_FORM_SAME)
_LEAD_LZ4: Final = _leading_byte(LZ4_ID)


def address_mix(type_: int, offset: int) -> int:
    """64 bits that differ between any two offsets of one type (multiplying by an odd number is a bijection)."""
    return (type_ * _TYPE_FACTOR + (offset + 1) * _OFFSET_FACTOR) & _MASK


@dataclass(frozen=True, slots=True)
class EncodedPage:
    """A page ready to be stored: its kind, its digest, and its blob, which a zero page has none of."""

    kind: Kind
    digest: int
    blob: bytes | None

    @property
    def stored_length(self) -> int:
        """Bytes that it adds to `pool_bytes`."""
        return 0 if self.blob is None else len(self.blob)


class Encoder:
    """Encodes pages of one size with one compressor."""

    def __init__(self, page_size: int, compressor: CompressorName) -> None:
        self._page_size = page_size
        self._zero = zero_page(page_size)
        self.zero_digest = digest_of(self._zero)
        self._encoded_zero = EncodedPage(Kind.ZERO, self.zero_digest, None)
        identifier, compress = COMPRESSORS[compressor]
        self._lead = _leading_byte(identifier)
        self._compress: Compress | None = compress

    def encode(self, page: bytes, type_: int, offset: int) -> EncodedPage:
        """Classify a page and put it into its envelope; `page` is exactly `page_size` bytes."""
        if page == self._zero:
            return self._encoded_zero
        digest = digest_of(page)
        bound = digest ^ address_mix(type_, offset)
        # The first comparison of same_word, here without the call: nearly every page ends at it.
        if page[:WORD_BYTES] == page[-WORD_BYTES:] and (word := same_word(page)) is not None:
            return EncodedPage(Kind.SAME, digest, _pack_head(_LEAD_SAME, bound) + word)
        if self._compress is not None:
            payload = self._compress(page)
            if len(payload) < self._page_size:
                return EncodedPage(Kind.COMPRESSED, digest, _pack_head(self._lead, bound) + payload)
        return EncodedPage(Kind.RAW, digest, _pack_head(_LEAD_RAW, bound) + page)

    def encode_block(self, page: bytes, block: bytes, digest: int, type_: int, offset: int) -> EncodedPage:
        """As `encode`, for a page whose LZ4 block and digest came with it and were verified: nothing is compressed."""
        if page == self._zero:
            return self._encoded_zero
        bound = digest ^ address_mix(type_, offset)
        if page[:WORD_BYTES] == page[-WORD_BYTES:] and (word := same_word(page)) is not None:
            return EncodedPage(Kind.SAME, digest, _pack_head(_LEAD_SAME, bound) + word)
        return EncodedPage(Kind.COMPRESSED, digest, _pack_head(_LEAD_LZ4, bound) + block)


def encode_same(word: bytes, page_size: int, type_: int, offset: int) -> EncodedPage:
    """A page filled with `word` (8 bytes, not all 0), made from the word alone."""
    digest = digest_of(word * (page_size // WORD_BYTES))
    return EncodedPage(Kind.SAME, digest, _pack_head(_LEAD_SAME, digest ^ address_mix(type_, offset)) + word)


def decode(blob: bytes, page_size: int, type_: int, offset: int) -> tuple[bytes, int, Kind]:
    """The page in an envelope, its digest and its kind; everything is checked.

    Raises:
        PageCorrupt: the envelope, the payload's length, or the digest at this address is wrong.
    """
    if len(blob) <= ENVELOPE_BYTES:
        raise PageCorrupt("The blob is shorter than its envelope.")
    lead, bound = _unpack_head(blob)
    if lead == _LEAD_LZ4 or lead in _COMPRESSED_LEADS:
        kind = Kind.COMPRESSED
        try:
            page = DECOMPRESSORS[lead & 0xF](blob[ENVELOPE_BYTES:], page_size)
        except DecodeError as error:
            raise PageCorrupt("The payload does not decode.") from error
    elif lead == _LEAD_RAW:
        kind = Kind.RAW
        page = blob[ENVELOPE_BYTES:]
    elif lead == _LEAD_SAME and len(blob) == ENVELOPE_BYTES + WORD_BYTES:
        kind = Kind.SAME
        page = blob[ENVELOPE_BYTES:] * (page_size // WORD_BYTES)
    else:
        raise PageCorrupt("The envelope's version or form is unknown.")
    if len(page) != page_size:
        raise PageCorrupt("The payload is not exactly one page.")
    digest = digest_of(page)
    if digest != bound ^ address_mix(type_, offset):
        raise PageCorrupt("The digest does not match the page at this address.")
    return page, digest, kind


_COMPRESSED_LEADS: Final = frozenset(map(_leading_byte, DECOMPRESSORS))


def claimed_digest(blob: bytes, type_: int, offset: int) -> int:
    """The digest that an envelope claims for its page at this address; nothing is checked but its presence.

    Raises:
        PageCorrupt: the blob is shorter than an envelope.
    """
    if len(blob) <= ENVELOPE_BYTES:
        raise PageCorrupt("The blob is shorter than its envelope.")
    bound: int = _unpack_head(blob)[1]
    return bound ^ address_mix(type_, offset)


def lz4_block(blob: bytes) -> bytes | None:
    """The LZ4 block of a blob that is kept as one; None for every other form."""
    return blob[ENVELOPE_BYTES:] if blob[0] == _LEAD_LZ4 else None
