"""Pages that one script puts (put_pages.lua): its command, and what its reply says."""

from __future__ import annotations

from collections.abc import Container, Sequence
from struct import Struct
from typing import Any, Final, cast

from app.page.classify import Kind
from app.store.chunk import BLOB_FIELDS, in_fields
from app.store.connection import Reply
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK, KeySchema
from app.store.resp import END, Piece, bulk
from app.store.scripts import PUT_PAGES

DEADLINE: Final = Struct("<d")
PLACE: Final = Struct("<QB")
"""The header of put_pages.lua: the deadline, and for each page its bit in a map of its chunk, and its kind."""

_RAW: Final = Kind.RAW
_pack_place: Final = PLACE.pack
_BITS: Final = tuple(1 << index for index in range(CHUNK_PAGES))
_FIXED_ARGUMENTS: Final = 7
"""EVALSHA, the script, the number of keys, the stripe; header, pool, type."""
_ARGUMENTS_OF_PAGE: Final = 3
"""Its chunk, its index, its blob."""

_BULK_INDEX: Final = tuple(b"$%d\r\n%b" % (len(field), field) for field in BLOB_FIELDS)
"""The field of a page in its chunk, but for the end of the line."""
_COMMAND: Final = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n" + PUT_PAGES.sha + b"\r\n$%d\r\n%d\r\n"
_BULK_INDEX_AND_LENGTH: Final = b"%b\r\n$%d\r\n"

MOST_PAGES: Final = 64
"""Pages that one script puts at most: Redis does nothing else meanwhile, and its reply numbers pages by a byte."""

Put = tuple[int, int, Kind, bytes, Any]
"""A page to be put: type, offset, kind, blob (b"" for a zero page), who puts it."""


class Puts:
    """Pages of one stripe and type; all of them zero pages, or none; no page twice."""

    __slots__ = ("chunk_keys", "offsets", "puts", "stripe", "type")

    def __init__(self, stripe: int, type_: int) -> None:
        self.stripe = stripe
        self.type = type_
        self.puts: list[Put] = []
        self.chunk_keys: list[bytes] = []
        self.offsets: set[int] = set()

    def command(self, stripe_key: bytes, pool_id: bytes, deadline: bytes) -> bytes:
        """The command, packed; `deadline`: as DEADLINE packs it, in microseconds of Redis's clock."""
        count = len(self.puts)
        type_field, count_of_keys = b"t%d" % self.type, b"%d" % (count + 1)
        header = [deadline]
        arguments: list[Piece] = []
        rests: list[bytes] = []
        for _, offset, kind, blob, _ in self.puts:
            index = offset & INDEX_MASK
            header.append(_pack_place(_BITS[index], kind))
            field: Piece = blob
            if kind == _RAW:
                field, rest = in_fields(blob)
                rests.append(bytes(rest))
            arguments += (_BULK_INDEX_AND_LENGTH % (_BULK_INDEX[index], len(field)), field, END)
        places = b"".join(header)
        parts = [
            _COMMAND % (_FIXED_ARGUMENTS + _ARGUMENTS_OF_PAGE * count + len(rests), len(count_of_keys), count + 1),
            bulk(stripe_key),
            *map(bulk, self.chunk_keys),
            bulk(places),
            bulk(pool_id),
            bulk(type_field),
            *arguments,
            *map(bulk, rests),
        ]
        return b"".join(parts)

    def left_by(self, reply: Reply) -> Container[int]:
        """The numbers of the pages that the script left alone; the long way says what is to be done with them."""
        if type(reply) is list:
            return cast("bytes", reply[2])
        return b"" if type(reply) is int and reply == 0 else range(len(self.puts))


def sorted_puts(puts: Sequence[Put], keys: KeySchema) -> list[Puts]:
    """What each script is to put, MOST_PAGES at most, in an order that puts a page that comes twice twice."""
    scripts: list[Puts] = []
    last: dict[tuple[int, int, bool], Puts] = {}
    place = keys.place
    for put in puts:
        type_, offset, kind, _, _ = put
        stripe, chunk_key = place(type_, offset >> CHUNK_SHIFT)
        alike = (stripe, type_, kind == 0)
        script = last.get(alike)
        if script is None or offset in script.offsets or len(script.puts) == MOST_PAGES:
            script = last[alike] = Puts(stripe, type_)
            scripts.append(script)
        script.puts.append(put)
        script.chunk_keys.append(chunk_key)
        script.offsets.add(offset)
    return scripts
