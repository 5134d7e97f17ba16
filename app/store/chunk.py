r"""A chunk's field "m": which of its 64 pages are present, and of which kind.

    byte 0           4                  12         20         28         36         40
         +-----------+------------------+----------+----------+----------+----------+
         | check u32 | present u64      | zero u64 | same u64 | raw u64  | bytes u32|
         +-----------+------------------+----------+----------+----------+----------+
                                         \_______ left out where all present pages are zero _______/

All little-endian; bit i stands for page 64 × chunk + i. `bytes` is the sum of the chunk's blobs, envelopes included.
A page that is present and neither zero, same nor raw is compressed. `check` binds the field to (type, chunk), as the
envelope's digest binds a blob, so that a reply meant for another chunk never passes for this one's zeros.

Page i's blob is the field <i>; of a raw page, the last 19 bytes are the field <i>r: whole, a blob of 4105 bytes would
take 5120 of jemalloc (its next class above 4096), in two 4096 and 24.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from app.errors import PageCorrupt
from app.page.classify import Kind
from app.page.codec import ENVELOPE_BYTES, address_mix
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT

SHORT_BYTES: Final = 12
LONG_BYTES: Final = 40

_SHORT = Struct("<IQ")
_LONG = Struct("<IQQQQI")
assert (_SHORT.size, _LONG.size) == (SHORT_BYTES, LONG_BYTES)  # noqa: S101  sizes are part of the format

# The members as names of the module: an attribute of an enum costs a page 40 ns.
_ZERO, _SAME, _COMPRESSED, _RAW = Kind.ZERO, Kind.SAME, Kind.COMPRESSED, Kind.RAW

PRESENT_AT: Final = 4
ZERO_AT: Final = 12
"""Where the maps begin; page i's bit is the (i mod 8)-th of byte i / 8."""

FULL_MASK: Final = (1 << 64) - 1

_STRING_BYTES: Final = 10
"""What Redis adds to a string, at most (sds.h)."""
REST_BYTES: Final = ENVELOPE_BYTES + _STRING_BYTES
"""So much of a raw page's blob lies apart, that the other part is not longer than a page, as Redis keeps it."""

BLOB_FIELDS: Final = tuple(b"%d" % index for index in range(CHUNK_PAGES))
REST_FIELDS: Final = tuple(b"%dr" % index for index in range(CHUNK_PAGES))
"""The fields of a chunk's pages."""


def in_fields(blob: bytes) -> tuple[memoryview, memoryview]:
    """A raw page's blob as its two fields, not copied."""
    view = memoryview(blob)
    return view[:-REST_BYTES], view[-REST_BYTES:]


def check_word(type_: int, chunk: int) -> int:
    """32 bits that tie a chunk's field "m" to its address."""
    return address_mix(type_, chunk << CHUNK_SHIFT) >> 32


@dataclass(slots=True)
class ChunkMap:
    """The decoded field "m": 64-bit maps, and the bytes held."""

    present: int = 0
    zero: int = 0
    same: int = 0
    raw: int = 0
    stored_bytes: int = 0

    @property
    def blobs(self) -> int:
        """The map of pages that have a blob."""
        return self.present & ~self.zero

    def kind(self, index: int) -> Kind | None:
        """The kind of a page, None where it is absent."""
        bit = 1 << index
        if not self.present & bit:
            return None
        if self.zero & bit:
            return Kind.ZERO
        if self.same & bit:
            return Kind.SAME
        return Kind.RAW if self.raw & bit else Kind.COMPRESSED

    def pack(self, type_: int, chunk: int) -> bytes:
        """The field as Redis keeps it."""
        check = check_word(type_, chunk)
        if self.present == self.zero:
            return _SHORT.pack(check, self.present)
        return _LONG.pack(check, self.present, self.zero, self.same, self.raw, self.stored_bytes)


EMPTY: Final = ChunkMap()


def kind_of_page(field: bytes | None, type_: int, chunk: int, index: int) -> Kind | None:
    """The kind of one page, as `unpack(…).kind(index)` tells it; a load of one page needs no more of the map.

    Raises:
        PageCorrupt: as `unpack`.
    """
    if field is None:
        return None
    if len(field) == SHORT_BYTES:
        check, present = _SHORT.unpack(field)
        zero, same, raw = present, 0, 0
    elif len(field) == LONG_BYTES:
        check, present, zero, same, raw, _ = _LONG.unpack(field)
    else:
        raise PageCorrupt("A chunk's map has a wrong length.")
    if check != check_word(type_, chunk):
        raise PageCorrupt("A chunk's map belongs to another address.")
    if not present >> index & 1:
        return None
    if zero >> index & 1:
        return _ZERO
    if same >> index & 1:
        return _SAME
    return _RAW if raw >> index & 1 else _COMPRESSED


def unpack(field: bytes | None, type_: int, chunk: int) -> ChunkMap:
    """Decode a field "m" that was read for this chunk; None is an empty chunk.

    Raises:
        PageCorrupt: the field has a wrong length, belongs to another chunk, or contradicts itself.
    """
    if field is None:
        return EMPTY
    if len(field) == SHORT_BYTES:
        check, present = _SHORT.unpack(field)
        chunk_map = ChunkMap(present, present)
    elif len(field) == LONG_BYTES:
        check, present, zero, same, raw, stored_bytes = _LONG.unpack(field)
        chunk_map = ChunkMap(present, zero, same, raw, stored_bytes)
        if (zero | same | raw) & ~present or zero & same or zero & raw or same & raw:
            raise PageCorrupt("A chunk's maps contradict each other.")
    else:
        raise PageCorrupt("A chunk's map has a wrong length.")
    if check != check_word(type_, chunk):
        raise PageCorrupt("A chunk's map belongs to another address.")
    return chunk_map
