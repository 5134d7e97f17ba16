"""All 64 pages of a chunk, put without their blobs going through a script (put_chunk.lua).

    MULTI · HSET beside m … 0 … 1 … · EVALSHA put_chunk.lua, which renames it · UNLINK beside, if it did not · EXEC

Redis carries out the whole transaction or nothing of it, and nobody sees the hash beside the chunk: it is made, and has
become the chunk or is gone again, in one step. Where Redis will not begin (a slot that is moving, no memory, a script
that it does not know), the change goes the other way, through change_chunk.lua, which knows what to make of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from struct import Struct
from typing import Final

from app.store.chunk import BLOB_FIELDS, FULL_MASK, REST_FIELDS, ChunkMap
from app.store.keys import CHUNK_PAGES, INDEX_MASK, RUN_SHIFT
from app.store.resp import END, Piece, between, bulk, command_with
from app.store.script_header import ChunkChange
from app.store.scripts import PUT_CHUNK

_HEADER: Final = Struct("<dB")
_FIELDS: Final = tuple(
    b"\r\n$%d\r\n%b" % (len(field), field) for both in zip(BLOB_FIELDS, REST_FIELDS, strict=True) for field in both
)
"""The fields of the pages in turn, that of the blob and that of a raw page's rest, as bulk strings between others."""
_TO_BYTES: Final = bytes.maketrans(b"01", b"\0\1")
_MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"

COMMANDS: Final = 5
"""In a transaction, the first and the last included; the last one's reply has those of the others in it."""
SCRIPT_AT: Final = 1
"""The place of the script's own reply in it."""


def is_whole(change: ChunkChange) -> bool:
    """Whether a change puts every page of its chunk, and asks nothing of what was there."""
    asks_nothing = not change.expected and change.policy is None
    return asks_nothing and change.put_map == FULL_MASK and change.blob_map != 0 and change.drop_map == 0


def transaction(change: ChunkChange, keys: Sequence[bytes], pool_id: bytes, deadline: float) -> list[Piece]:
    """The five commands, packed, in pieces.

    Args:
        change: one that `is_whole`.
        keys: of the chunk and what is beside it, as change_chunk.lua takes them.
        pool_id: the pool's UUID.
        deadline: the latest moment to take effect, in microseconds of Redis's clock.
    """
    beside = keys[0] + b":new"
    chunk_map = ChunkMap(FULL_MASK, change.zero_map, change.same_map, change.raw_map, change.blob_bytes)
    map_ = chunk_map.pack(change.type, change.chunk)
    header = _HEADER.pack(deadline, change.chunk & INDEX_MASK)
    run = b"%d" % (change.chunk >> RUN_SHIFT)
    script = (b"EVALSHA", PUT_CHUNK.sha, b"6", *keys, beside, header, pool_id, b"%d" % change.type, run)
    return [
        _MULTI,
        *_hset(beside, map_, change),
        *command_with(script, ()),
        *command_with((b"UNLINK", beside), ()),
        _EXEC,
    ]


def _hset(beside: bytes, map_: bytes, change: ChunkChange) -> list[Piece]:
    """HSET of the field "m" and of the blobs, each behind the field that it goes to, in pieces."""
    has_field = bytearray(2 * CHUNK_PAGES)
    has_field[::2] = _digits(change.blob_map)
    has_field[1::2] = _digits(change.raw_map)
    count = len(change.blobs)
    before = b"".join((b"*%d\r\n" % (4 + 2 * count), *map(bulk, (b"HSET", beside, b"m", map_))))
    pieces: list[Piece] = [END] * (3 * count + 2)
    pieces[0] = before[: -len(END)]
    pieces[1:-1:3] = compress(_FIELDS, has_field)
    pieces[2:-1:3] = map(between, map(len, change.blobs))
    pieces[3:-1:3] = change.blobs
    return pieces


def _digits(map_: int) -> bytes:
    """A byte for each page of a chunk, 1 where it is in the map."""
    return f"{map_:064b}".encode().translate(_TO_BYTES)[::-1]
