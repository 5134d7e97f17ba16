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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from app.errors import PageCorrupt
from app.page.classify import WORD_BYTES, Kind, Octets, same_word, zero_page
from app.page.compressors import COMPRESSORS, DECODE_ERRORS, DECOMPRESSORS, LZ4_ID, Compress, decompress_lz4
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

ZERO_BLOB: Final = b""
"""What stands for a zero page in a column of blobs: it has no envelope and adds 0 to `pool_bytes`."""

UNREADABLE_BLOB: Final = b"\0"
"""A blob that never decodes: what stands in such a column for a page that should have a blob and has none."""

ABSENT: Final = 4
CORRUPT: Final = 5
"""The states beside the four kinds: nothing is held at the address, and what is held failed its check."""

# The members as names of the module: an attribute of an enum costs a page 40 ns.
_ZERO, _SAME, _COMPRESSED, _RAW = Kind.ZERO, Kind.SAME, Kind.COMPRESSED, Kind.RAW

_new_tuple = tuple.__new__  # a NamedTuple's own constructor takes three times as long

digest_of = xxh3_64_intdigest
"""XXH3-64 of a page's bytes, as a number; in hexadecimal it is the page's ETag."""


def _leading_byte(form: int) -> int:
    return VERSION << 4 | form


_LEAD_RAW: Final = _leading_byte(_FORM_RAW)
_LEAD_SAME: Final = _leading_byte(_FORM_SAME)
_LEAD_LZ4: Final = _leading_byte(LZ4_ID)
_decompressor_of_lead: Final = {_leading_byte(form): decompress for form, decompress in DECOMPRESSORS.items()}.get


def address_mix(type_: int, offset: int) -> int:
    """64 bits that differ between any two offsets of one type (multiplying by an odd number is a bijection)."""
    return (type_ * _TYPE_FACTOR + (offset + 1) * _OFFSET_FACTOR) & _MASK


def address_mixes(type_: int, offset: int) -> Iterator[int]:
    """The mixes of `offset` and those after it, without end; an addition each."""
    mix = address_mix(type_, offset)
    while True:
        yield mix
        mix = (mix + _OFFSET_FACTOR) & _MASK


@dataclass(frozen=True, slots=True)
class EncodedPages:
    """Pages ready to be stored, in columns of one length, in ascending order of offset; no offset occurs twice."""

    offsets: Sequence[int]
    kinds: bytearray
    """A Kind a page; `kinds.count(Kind.ZERO)` counts."""
    blobs: list[bytes]
    """The envelopes; ZERO_BLOB for a zero page, so that the lengths add up to `pool_bytes`."""

    def __len__(self) -> int:
        return len(self.kinds)

    @classmethod
    def of_one(cls, offset: int, page: EncodedPage) -> EncodedPages:
        """One page as columns."""
        return cls((offset,), bytearray((page.kind,)), [page.blob or ZERO_BLOB])


@dataclass(frozen=True, slots=True)
class DecodedExtent:
    """What a load found, in columns of one length: consecutive offsets from the first one asked for."""

    states: bytearray
    """A Kind a page, or ABSENT, or CORRUPT; `states.find(ABSENT)` finds the first one missing."""
    pages: list[bytes]
    """The pages, decoded and checked; empty where absent or corrupt."""


class EncodedPage(NamedTuple):
    """A page ready to be stored: its kind, its digest, and its blob, which a zero page has none of."""

    kind: Kind
    digest: int
    blob: bytes | None

    @property
    def stored_length(self) -> int:
        """Bytes that it adds to `pool_bytes`."""
        return 0 if self.blob is None else len(self.blob)


class Encoder:
    """Encodes pages of one size with one compressor. It keeps no state between calls: threads may share it."""

    def __init__(self, page_size: int, compressor: CompressorName) -> None:
        self.page_size = page_size
        self._zero = zero_page(page_size)
        self._pages_of = Struct(f"{page_size}s").iter_unpack
        self.zero_digest = digest_of(self._zero)
        self._encoded_zero = EncodedPage(Kind.ZERO, self.zero_digest, None)
        identifier, compress = COMPRESSORS[compressor]
        self._lead = _leading_byte(identifier)
        self._compress: Compress | None = compress

    def encode(self, page: Octets, type_: int, offset: int) -> EncodedPage:
        """Classify a page and put it into its envelope; `page` is exactly `page_size` bytes."""
        if page == self._zero:
            return self._encoded_zero
        digest = digest_of(page)
        # `address_mix`, here without the call.
        mix = (type_ * _TYPE_FACTOR + (offset + 1) * _OFFSET_FACTOR) & _MASK
        kind, blob = self.envelop(page, digest ^ mix)
        return _new_tuple(EncodedPage, (kind, digest, blob))

    def encode_extent(
        self, body: Octets, type_: int, offset: int, begin: int = 0, end: int | None = None
    ) -> EncodedPages:
        """Encode the whole pages in body[begin:end], which go to consecutive offsets from `offset` on.

        Beside compression it costs a fraction of `encode`: no object and no multiplication for each page.
        """
        zero = self._zero
        envelop = self.envelop
        kinds = bytearray()
        blobs: list[bytes] = []
        part = memoryview(body)[begin:end]
        for (page,), mix in zip(self._pages_of(part), address_mixes(type_, offset), strict=False):
            if page == zero:
                kinds.append(_ZERO)
                blobs.append(ZERO_BLOB)
            else:
                kind, blob = envelop(page, digest_of(page) ^ mix)
                kinds.append(kind)
                blobs.append(blob)
        return EncodedPages(range(offset, offset + len(blobs)), kinds, blobs)

    def envelop(self, page: Octets, bound: int, block: Octets | memoryview | None = None) -> tuple[Kind, bytes]:
        """Kind and blob of a page that is not zero; `bound` is digest ^ mix, `block` its LZ4 block if known."""
        # The first comparison of same_word, here without the call: nearly every page ends at it.
        if page[:WORD_BYTES] == page[-WORD_BYTES:] and (word := same_word(page)) is not None:
            return _SAME, _pack_head(_LEAD_SAME, bound) + word
        if block is not None:
            return _COMPRESSED, _pack_head(_LEAD_LZ4, bound) + block
        if self._compress is not None:
            payload = self._compress(page)
            if len(payload) < self.page_size:
                return _COMPRESSED, _pack_head(self._lead, bound) + payload
        return _RAW, _pack_head(_LEAD_RAW, bound) + page


def same_blob(word: bytes, bound: int) -> bytes:
    """The blob of a page filled with `word`; `bound` is the page's digest ^ its address's mix."""
    return _pack_head(_LEAD_SAME, bound) + word


def decode(blob: bytes, page_size: int, type_: int, offset: int) -> tuple[bytes, int, Kind]:
    """The page in an envelope, its digest and its kind; everything is checked.

    Raises:
        PageCorrupt: the envelope, the payload's length, or the digest at this address is wrong.
    """
    return open_envelope(blob, page_size, address_mix(type_, offset))


def open_envelope(blob: bytes, page_size: int, mix: int) -> tuple[bytes, int, Kind]:
    """As `decode`, for an address whose mix is known."""
    if len(blob) <= ENVELOPE_BYTES:
        raise PageCorrupt("The blob is shorter than its envelope.")
    lead, bound = _unpack_head(blob)
    if (decompress := _decompressor_of_lead(lead)) is not None:
        kind = _COMPRESSED
        try:
            page = decompress(blob[ENVELOPE_BYTES:], page_size)
        except DECODE_ERRORS as error:
            raise PageCorrupt("The payload does not decode.") from error
    elif lead == _LEAD_RAW:
        kind = _RAW
        page = blob[ENVELOPE_BYTES:]
    elif lead == _LEAD_SAME and len(blob) == ENVELOPE_BYTES + WORD_BYTES:
        kind = _SAME
        page = blob[ENVELOPE_BYTES:] * (page_size // WORD_BYTES)
    else:
        raise PageCorrupt("The envelope's version or form is unknown.")
    if len(page) != page_size:
        raise PageCorrupt("The payload is not exactly one page.")
    digest = digest_of(page)
    if digest ^ bound != mix:
        raise PageCorrupt("The digest does not match the page at this address.")
    return page, digest, kind


def decode_extent(held: Iterable[bytes | None], page_size: int, type_: int, offset: int) -> DecodedExtent:
    """Decode what is held at consecutive offsets from `offset` on: None for nothing, ZERO_BLOB, or a blob."""
    zero = zero_page(page_size)
    states = bytearray()
    pages: list[bytes] = []
    for blob, mix in zip(held, address_mixes(type_, offset), strict=False):
        if blob:
            try:
                page, _, kind = open_envelope(blob, page_size, mix)
            except PageCorrupt:
                states.append(CORRUPT)
                pages.append(b"")
            else:
                states.append(kind)
                pages.append(page)
        elif blob is None:
            states.append(ABSENT)
            pages.append(b"")
        else:
            states.append(_ZERO)
            pages.append(zero)
    return DecodedExtent(states, pages)


def open_lz4(blob: bytes, page_size: int, mix: int) -> tuple[bytes, int] | None:
    """The LZ4 block of a blob that is kept as one, shorter than a page, and the page's digest; None for other forms.

    It is decoded and checked like any other page, but the page itself is let go.

    Raises:
        PageCorrupt: as `open_envelope`.
    """
    if not ENVELOPE_BYTES < len(blob) < ENVELOPE_BYTES + page_size or blob[0] != _LEAD_LZ4:
        return None
    block = blob[ENVELOPE_BYTES:]
    try:
        page = decompress_lz4(block, page_size)
    except DECODE_ERRORS as error:
        raise PageCorrupt("The payload does not decode.") from error
    digest = digest_of(page)
    if len(page) != page_size or digest ^ _unpack_head(blob)[1] != mix:
        raise PageCorrupt("The payload is not the page at this address.")
    return block, digest
