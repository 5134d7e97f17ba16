"""The whole key schema of a pool in Redis.

With NS the namespace and TAG the hash tag of a stripe:

    NS:pool                    hash    format, layout, page size, stripes, UUID, tunables, open or closed
    NS:config                  hash    type → its configuration (JSON); "id" the pool's UUID; of types that were ever
                                       governed "g<TYPE>", and "v" the newest version (see write_configuration.lua)
    NS:lease                   string  who shrinks now
    NS:hands                   hash    where the shrinker's hands stand, and when expired pages were swept
    NS:p:{TAG}:TYPE:CHUNK      hash    a chunk: field "m" (see chunk.py), field <index> the blob of a page not zero
                                       (of a raw page <index>r as well), of governed types "g" (see policy.py)
    NS:p:{TAG}:TYPE:CHUNK:new  hash    a chunk that is being put whole; there within a transaction only (whole_chunk.py)
    NS:s:{TAG}                 hash    a stripe: "id" the pool's UUID, "n" its counters, "t<TYPE>" the same of one type,
                                       "x" and "x<TYPE>" pages that went by themselves, "v<TYPE>" the newest version of
                                       the type's policy that it knows of,
                                       "lost" 1 if it came back without its pages and nobody has accepted that
    NS:c:{TAG}:TYPE            zset    runs that hold a chunk of the type, scored by run
    NS:r:{TAG}:TYPE            hash    run → 64-bit map of the chunks held in it
    NS:y:{TAG}                 zset    types that hold a page in this stripe, scored by type

A chunk is 64 consecutive pages, a run 64 consecutive chunks. A run lies in one stripe, so everything that one store
touches bears one hash tag: a store is one script on one slot, on a single Redis and on a cluster alike.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from functools import cache
from typing import Final

CHUNK_PAGES: Final = 64
CHUNK_SHIFT: Final = 6
RUN_CHUNKS: Final = 64
RUN_SHIFT: Final = 6
INDEX_MASK: Final = CHUNK_PAGES - 1
RUN_PAGES: Final = CHUNK_PAGES * RUN_CHUNKS

CLUSTER_SLOTS: Final = 16384
STRIPES_SINGLE: Final = 16
STRIPES_CLUSTER: Final = 1024

_REMEMBERED_KEYS: Final = 4096
_TYPE_FACTOR: Final = 0x9E37_79B1
_TYPE_SHIFT: Final = 20
"""Spread the first runs of many small types over the stripes, types that are multiples of 1024 as well."""


def slot_of_key(key: bytes) -> int:
    """The cluster slot of a key: of what stands in its first braces, where anything does."""
    opening = key.find(b"{")
    closing = key.find(b"}", opening + 1)
    return slot_of(key[opening + 1 : closing] if 0 <= opening < closing - 1 else key)


def slot_of(tag: bytes) -> int:
    """The cluster slot of a hash tag: CRC-16/XMODEM modulo 16384 (Redis Cluster specification)."""
    return crc_hqx(tag, 0) % CLUSTER_SLOTS


@cache
def stripe_tags(stripes: int) -> tuple[bytes, ...]:
    """A hash tag for each stripe, their slots spread evenly: stripe i lies in the i-th of `stripes` equal parts."""
    tags: dict[int, bytes] = {}
    candidate = 0
    while len(tags) < stripes:
        tag = b"%x" % candidate
        tags.setdefault(slot_of(tag) * stripes // CLUSTER_SLOTS, tag)
        candidate += 1
    return tuple(tags[stripe] for stripe in range(stripes))


class KeySchema:
    """The names of one pool's keys."""

    def __init__(self, namespace: str, stripes: int) -> None:
        self.namespace = namespace.encode()
        self.stripes = stripes
        self.tags = stripe_tags(stripes)
        self.pool = b"%b:pool" % self.namespace
        self.config = b"%b:config" % self.namespace
        self.lease = b"%b:lease" % self.namespace
        self.hands = b"%b:hands" % self.namespace
        self.stripe_keys = tuple(b"%b:s:{%b}" % (self.namespace, tag) for tag in self.tags)
        self.types_keys = tuple(b"%b:y:{%b}" % (self.namespace, tag) for tag in self.tags)
        self._chunk_prefixes = tuple(b"%b:p:{%b}:" % (self.namespace, tag) for tag in self.tags)
        self._runs_prefixes = tuple(b"%b:c:{%b}:" % (self.namespace, tag) for tag in self.tags)
        self._beside: dict[tuple[int, int], tuple[bytes, bytes, bytes, bytes]] = {}
        self._maps_prefixes = tuple(b"%b:r:{%b}:" % (self.namespace, tag) for tag in self.tags)

    def stripe_of(self, type_: int, chunk: int) -> int:
        """The stripe of a chunk: neighbouring runs lie in neighbouring stripes."""
        return ((type_ * _TYPE_FACTOR >> _TYPE_SHIFT) + (chunk >> RUN_SHIFT)) % self.stripes

    def place(self, type_: int, chunk: int) -> tuple[int, bytes]:
        """The stripe of a chunk and its hash: `stripe_of` and `chunk` at once, for the calls that must cost least."""
        stripe = ((type_ * _TYPE_FACTOR >> _TYPE_SHIFT) + (chunk >> RUN_SHIFT)) % self.stripes
        return stripe, b"%b%d:%d" % (self._chunk_prefixes[stripe], type_, chunk)

    def stripes_of_runs(self, type_: int, first: int, last: int) -> Sequence[int]:
        """The stripes that hold the runs from `first` to `last` of a type."""
        if last - first + 1 >= self.stripes:
            return range(self.stripes)
        return [self.stripe_of(type_, run << RUN_SHIFT) for run in range(first, last + 1)]

    def chunk(self, stripe: int, type_: int, chunk: int) -> bytes:
        """The hash of a chunk."""
        return b"%b%d:%d" % (self._chunk_prefixes[stripe], type_, chunk)

    def beside_chunks(self, stripe: int, type_: int) -> tuple[bytes, bytes, bytes, bytes]:
        """The keys that change with a chunk: its stripe, the type's runs and chunk maps there, the stripe's types."""
        keys = self._beside.get((stripe, type_))
        if keys is None:
            if len(self._beside) >= _REMEMBERED_KEYS:
                self._beside.clear()
            runs, maps = self.runs(stripe, type_), self.maps(stripe, type_)
            keys = self._beside[stripe, type_] = (self.stripe_keys[stripe], runs, maps, self.types_keys[stripe])
        return keys

    def chunk_prefix(self, stripe: int) -> bytes:
        """What the keys of all chunks of a stripe begin with; type and chunk follow."""
        return self._chunk_prefixes[stripe]

    def runs_prefix(self, stripe: int) -> bytes:
        """What `runs` of every type begins with."""
        return self._runs_prefixes[stripe]

    def maps_prefix(self, stripe: int) -> bytes:
        """What `maps` of every type begins with."""
        return self._maps_prefixes[stripe]

    def runs(self, stripe: int, type_: int) -> bytes:
        """The sorted set of runs that a type holds in a stripe."""
        return b"%b%d" % (self._runs_prefixes[stripe], type_)

    def maps(self, stripe: int, type_: int) -> bytes:
        """The hash of chunk maps, one for each run that a type holds in a stripe."""
        return b"%b%d" % (self._maps_prefixes[stripe], type_)
