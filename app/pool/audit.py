"""The recount: whether the counters equal what is stored (contract 3.3).

Every chunk that Redis holds is looked at: whether its map agrees with its blobs, and whether the index knows it. Then
each stripe's counters are recounted from the maps of its chunks, by a script, so that no store comes in between: what
differs there is wrong, however many stores go on meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from app.errors import PageCorrupt
from app.store.base import Counters
from app.store.chunk import unpack
from app.store.keys import RUN_CHUNKS, RUN_SHIFT, KeySchema
from app.store.multiplexer import pack_command
from app.store.nodes import Nodes
from app.store.redis import RedisStore, unpack_counters
from app.store.replies import checked
from app.store.scripts import AUDIT_CHUNK, AUDIT_STRIPE, call_script

_SCAN_COUNT: Final = 1000
_NAMES: Final = ("pages", "zero", "same", "raw", "bytes")


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what was counted."""

    scope: str
    """The stripe, type or chunk."""
    counter: str
    counted: int | str
    recorded: int | str


@dataclass(slots=True)
class AuditReport:
    """What a recount found."""

    differences: list[Difference] = field(default_factory=list)
    pages: int = 0
    chunks: int = 0
    repaired: bool = False


async def audit(store: RedisStore, *, repair: bool = False) -> AuditReport:
    """Recount a pool, whose services may be running.

    Args:
        store: the pool's.
        repair: set counters that are wrong to what was counted.

    Raises:
        BackendUnavailable: Redis went away.
    """
    report = AuditReport()
    types: list[set[int]] = [set() for _ in range(store.keys.stripes)]
    async for type_, chunk in _held_chunks(store.nodes, store.keys):
        report.chunks += 1
        types[store.keys.stripe_of(type_, chunk)].add(type_)
        report.differences += await _audit_chunk(store, type_, chunk, repair=repair)
    for stripe, key in enumerate(store.keys.stripe_keys):
        fields = checked(await store.nodes.of_key(key).send(pack_command((b"HKEYS", key))))
        types[stripe].update(int(name[1:]) for name in fields if re.fullmatch(rb"t\d+", name))
        await _audit_stripe(store, stripe, sorted(types[stripe]), report, repair=repair)
    report.repaired = repair and bool(report.differences)
    return report


async def _held_chunks(nodes: Nodes, keys: KeySchema) -> AsyncIterator[tuple[int, int]]:
    """Type and number of every chunk in Redis, found by its key and not by the index; each at least once."""
    pattern = b"%b:p:{*}:*" % keys.namespace
    name = re.compile(re.escape(keys.namespace) + rb":p:\{[0-9a-f]+\}:(\d+):(\d+)")
    seen: set[bytes] = set()
    for connection in nodes.all_loads():
        cursor = b"0"
        while True:
            command = pack_command((b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT))
            cursor, found = checked(await connection.send(command))
            for key in found:
                if key not in seen and (match := name.fullmatch(key)):
                    seen.add(key)
                    yield int(match[1]), int(match[2])
            if cursor == b"0":
                break


async def _audit_chunk(store: RedisStore, type_: int, chunk: int, *, repair: bool) -> list[Difference]:
    stripe = store.keys.stripe_of(type_, chunk)
    keys = [store.keys.chunk(stripe, type_, chunk), store.keys.maps(stripe, type_), store.keys.runs(stripe, type_)]
    arguments: list[Any] = [chunk >> RUN_SHIFT, chunk % RUN_CHUNKS, int(repair)]
    reply = await call_script(store.nodes.of_key(keys[0]), AUDIT_CHUNK, keys, arguments)
    if not reply:
        return []
    found, bytes_, indices, indexed = reply
    scope = f"type {type_}, chunk {chunk}"
    try:
        chunk_map = unpack(found, type_, chunk)
    except PageCorrupt as error:
        return [Difference(scope, "map", "readable", error.detail)]
    blobs = sum(1 << index for index in indices)
    differences = []
    if bytes_ != chunk_map.stored_bytes:
        differences.append(Difference(scope, "bytes", bytes_, chunk_map.stored_bytes))
    if blobs != chunk_map.blobs:
        differences.append(Difference(scope, "blobs", f"{blobs:016x}", f"{chunk_map.blobs:016x}"))
    if not indexed:
        differences.append(Difference(scope, "index", "held", "not known"))
    return differences


async def _audit_stripe(store: RedisStore, stripe: int, types: list[int], report: AuditReport, *, repair: bool) -> None:
    keys = store.keys
    prefixes = [keys.chunk_prefix(stripe), keys.runs_prefix(stripe), keys.maps_prefix(stripe)]
    reply = await call_script(
        store.nodes.of_key(keys.stripe_keys[stripe]),
        AUDIT_STRIPE,
        [keys.stripe_keys[stripe], keys.types_keys[stripe]],
        [int(repair), *prefixes, *types],
    )
    for type_, recorded, counted in reply:
        scope = f"stripe {stripe}, type {type_.decode()}" if type_ else f"stripe {stripe}"
        theirs, ours = unpack_counters(recorded), unpack_counters(counted)
        if not type_:
            report.pages += ours.pages
        report.differences += _compare(scope, ours, theirs)


def _compare(scope: str, counted: Counters, recorded: Counters) -> list[Difference]:
    return [
        Difference(scope, name, getattr(counted, name), getattr(recorded, name))
        for name in _NAMES
        if getattr(counted, name) != getattr(recorded, name)
    ]
