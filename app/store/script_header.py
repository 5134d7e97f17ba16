"""The packed header of `change_chunk.lua`: what is put and dropped in one chunk, and how pages are admitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from app.page.classify import Kind
from app.store.policy import Policy
from app.store.resp import Piece

_HEADER: Final = Struct("<dIBBBBBQQQQQBBBBdBddd")
_GOVERNED: Final = Struct("<dIIBdd")
assert _HEADER.size == 94  # noqa: PLR2004, S101  the script tells by it whether a policy follows
_pack = _HEADER.pack

UNBOUNDED: Final = float("inf")


class Status(IntEnum):
    """How a script ended; nothing was written unless it is DONE."""

    DONE = 0
    LATE = 1
    LOST = 2
    CHANGED = 3
    OUTDATED = 4


@dataclass(slots=True)
class ChunkChange:
    """Pages of one chunk to put and to drop; 64-bit maps, bit i for page 64 × chunk + i.

    `blobs` are the blobs of `blob_map`, by ascending index, of raw pages in two items (chunk.py's `in_fields`);
    `same_map` and `raw_map` are subsets of `blob_map`. Of a governed type `policy` is what it goes by; `cutoff` binds
    the change to what a look at the page called expired.
    """

    type: int
    chunk: int
    zero_map: int = 0
    same_map: int = 0
    raw_map: int = 0
    blob_map: int = 0
    drop_map: int = 0
    blobs: Sequence[Piece] = ()
    blob_bytes: int = 0
    expected: bytes = b""
    policy: Policy | None = None
    cutoff: int | None = None

    @property
    def kind_of_one(self) -> Kind:
        """The kind of the one page that is put."""
        if self.zero_map:
            return Kind.ZERO
        if self.same_map:
            return Kind.SAME
        return Kind.RAW if self.raw_map else Kind.COMPRESSED

    @property
    def put_map(self) -> int:
        """The map of all pages to put."""
        return self.zero_map | self.blob_map


@dataclass(frozen=True, slots=True)
class Room:
    """What a script needs to admit page by page: differences to the totals, in bytes and pages.

    `headroom` is limit minus pool_bytes, `reopen` is the accept threshold minus pool_bytes, `pages` is how many pages
    may yet appear. The same of the type's own limit follows.
    """

    headroom: float = UNBOUNDED
    reopen: float = UNBOUNDED
    pages: float = UNBOUNDED
    is_closed: bool = False
    type_headroom: float = UNBOUNDED
    type_reopen: float = UNBOUNDED
    type_is_closed: bool = False


def pack_header(
    change: ChunkChange,
    *,
    deadline: float,
    check: int,
    place: int,
    room: Room | None,
    refuse: bool,
    keep: bool,
    cutoff: int = 0,
) -> bytes:
    """The header of one change.

    Args:
        change: what to put and drop.
        deadline: the latest moment to take effect, in microseconds of Redis's clock.
        check: the word that ties the chunk's map to its address.
        place: the chunk's place in its run, 0 … 63.
        room: decide page by page with this; None where every page is known to fit.
        refuse: refuse all pages that have a blob (after Redis lacked memory).
        keep: refused pages leave what was there (an image's write).
        cutoff: of a governed type, pages stored at this second or before are expired.
    """
    zero_map, same_map, raw_map, blob_map = change.zero_map, change.same_map, change.raw_map, change.blob_map
    touched = zero_map | blob_map | change.drop_map
    exact = room is not None
    room = room or _NO_ROOM
    header = _pack(
        deadline,
        check,
        place,
        (touched & -touched).bit_length() - 1 if touched else 0,
        exact,
        refuse,
        keep,
        zero_map,
        same_map,
        raw_map,
        blob_map,
        change.drop_map,
        zero_map.bit_count(),
        same_map.bit_count(),
        raw_map.bit_count(),
        blob_map.bit_count(),
        change.blob_bytes,
        room.is_closed,
        room.headroom,
        room.reopen,
        room.pages,
    )
    policy = change.policy
    if policy is None:
        return header
    return header + _GOVERNED.pack(
        policy.version, cutoff, policy.since, room.type_is_closed, room.type_headroom, room.type_reopen
    )


_NO_ROOM: Final = Room()
