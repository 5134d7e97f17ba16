"""All 64 pages of a chunk, put without their blobs going through a script (put_chunk.lua).

    MULTI · HSET beside m … 0 … 1 … · EVALSHA put_chunk.lua, which renames it · UNLINK beside, if it did not · EXEC

Redis carries out the whole transaction or nothing of it, and nobody sees the hash beside the chunk: it is made, and has
become the chunk or is gone again, in one step. Where Redis will not begin (a slot that is moving, no memory, a script
that it does not know), the change goes the other way, through change_chunk.lua, which knows what to make of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from app.store.chunk import BLOB_FIELDS, FULL_MASK, REST_FIELDS, ChunkMap
from app.store.keys import CHUNK_PAGES, INDEX_MASK, RUN_SHIFT
from app.store.resp import Piece, command_with
from app.store.script_header import ChunkChange
from app.store.scripts import PUT_CHUNK

_HEADER: Final = Struct("<dB")
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
        *command_with((b"HSET", beside, b"m", map_), _with_fields(change)),
        *command_with(script, ()),
        *command_with((b"UNLINK", beside), ()),
        _EXEC,
    ]


def _with_fields(change: ChunkChange) -> list[Piece]:
    """The blobs, each behind the field that it goes to."""
    fields: list[bytes] = []
    for index in range(CHUNK_PAGES):
        if change.blob_map >> index & 1:
            fields.append(BLOB_FIELDS[index])
        if change.raw_map >> index & 1:
            fields.append(REST_FIELDS[index])
    items: list[Piece] = [b""] * (2 * len(fields))
    items[::2] = fields
    items[1::2] = change.blobs
    return items
