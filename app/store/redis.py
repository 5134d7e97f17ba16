"""Chunks in Redis: what a load reads, and what a store changes, each one round trip.

Loads are plain HMGETs (the chunk's map and the fields asked for); every change is one script on one slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from struct import Struct
from typing import Any, Final

from app.store.base import ChangeResult, Counters, Reclaims
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK, RUN_CHUNKS, RUN_SHIFT
from app.store.multiplexer import Reply, pack_command
from app.store.nodes import Nodes
from app.store.page_reads import join_fields, read_pages
from app.store.policy import Policy
from app.store.record import PoolRecord
from app.store.replies import checked
from app.store.script_header import ChunkChange, Room
from app.store.scripts import READ_RUN, call_script
from app.store.sent_change import SentChange
from app.store.survey import ask_stripes

_COUNTERS: Final = Struct("<5d")
_RECLAIMS: Final = Struct("<3d")
_NOTHING: Final = (0.0,) * 5
"""The numbers of a stripe that holds no page, as `_COUNTERS` has them."""


def unpack_counters(field: bytes | None) -> Counters:
    """Decode a stripe's field "n" or "t<TYPE>"."""
    return Counters(*map(int, _COUNTERS.unpack(field))) if field else Counters()


def unpack_reclaims(field: bytes | None) -> Reclaims:
    """Decode a stripe's field "x" or "x<TYPE>"."""
    return Reclaims(*map(int, _RECLAIMS.unpack(field))) if field else Reclaims()


class RedisStore:
    """The chunks of one pool."""

    def __init__(self, nodes: Nodes, record: PoolRecord) -> None:
        keys = record.keys
        nodes.spread(keys.tags)
        self.nodes = nodes
        self.record = record
        self.keys = keys
        self._total_commands = [pack_command((b"HMGET", key, b"n", b"id", b"x")) for key in keys.stripe_keys]
        self.stripe_pages = [0] * keys.stripes
        self.stripe_bytes = [0] * keys.stripes
        self.total_pages = 0
        self.total_bytes = 0
        self._told = [0] * keys.stripes  # how many changes have told a stripe's counters
        self.type_totals: dict[int, TypeTotals] = {}
        """Of the types that have a limit of their own."""
        self.reclaims = Reclaims()
        """As of the last `read_totals`."""

    # Loads

    async def fetch_page(self, type_: int, chunk: int, index: int, *, with_times: bool = False) -> list[bytes | None]:
        """A chunk's field "m", and the blob of one of its pages; where asked for, its field "g" as well."""
        stripe = self.keys.stripe_of(type_, chunk)
        key = self.keys.chunk(stripe, type_, chunk)
        command = read_pages(key, index, 1, with_times=with_times)
        reply: list[bytes | None] = await self.nodes.loads(stripe).send(command)
        if type(reply) is not list:
            reply = await self._settle_load(reply, key, command)
        join_fields(reply, 1)
        return reply

    async def _settle_load(self, reply: Reply, key: bytes, command: bytes) -> Any:
        return checked(await self.nodes.settle(reply, key, lambda node: node.send(command), is_load=True))

    async def fetch_pages(
        self, type_: int, first: int, count: int, *, with_times: bool = False
    ) -> list[tuple[int, int, int, list[bytes | None]]]:
        """The chunks that hold `count` pages from offset `first`: all are asked for at once.

        Returns:
            For each chunk: its number, the first index and the count of the pages asked for, and the reply: its field
            "m" followed by the blobs, and where asked for by its field "g".
        """
        pieces = []
        offset, end = first, first + count
        while offset < end:
            chunk, index = offset >> CHUNK_SHIFT, offset & INDEX_MASK
            taken = min(CHUNK_PAGES - index, end - offset)
            stripe = self.keys.stripe_of(type_, chunk)
            key = self.keys.chunk(stripe, type_, chunk)
            command = read_pages(key, index, taken, with_times=with_times)
            pieces.append((chunk, index, taken, self.nodes.loads(stripe).send(command), key, command))
            offset += taken
        held = []
        for chunk, index, taken, pending, key, command in pieces:
            reply = await pending
            if type(reply) is not list:
                reply = await self._settle_load(reply, key, command)
            join_fields(reply, taken)
            held.append((chunk, index, taken, reply))
        return held

    # Changes

    def begin_change(
        self,
        change: ChunkChange,
        room: Room | None = None,
        *,
        refuse: bool = False,
        keep: bool = False,
        begun_at: float | None = None,
    ) -> SentChange:
        """Send one change; `finish` of what comes back waits for its end.

        Args:
            change: the pages to put and drop.
            room: admit page by page with this; None where every page is known to fit.
            refuse: refuse every page that has a blob.
            keep: refused pages leave what was there.
            begun_at: when a try that changed nothing was sent (time.monotonic): this one gains no time.
        """
        return SentChange(self, change, room, refuse=refuse, keep=keep, begun_at=begun_at)

    async def change(
        self, change: ChunkChange, room: Room | None = None, *, refuse: bool = False, keep: bool = False
    ) -> ChangeResult:
        """Send one change and wait for it; see `begin_change` and `SentChange.finish`."""
        return await SentChange(self, change, room, refuse=refuse, keep=keep).finish()

    def learn_totals(self, stripe: int, pages: int, bytes_: int) -> None:
        """Take over a stripe's counters, as a change's reply just told them."""
        self._told[stripe] += 1
        self._take_over(stripe, pages, bytes_)

    def _take_over(self, stripe: int, pages: int, bytes_: int) -> None:
        self.total_pages += pages - self.stripe_pages[stripe]
        self.total_bytes += bytes_ - self.stripe_bytes[stripe]
        self.stripe_pages[stripe], self.stripe_bytes[stripe] = pages, bytes_

    def server_time(self, stripe: int) -> float:
        """Seconds of the clock of the Redis that has a stripe, a little late rather than early."""
        return self.nodes.stores(stripe).server_time

    def learn_type_totals(self, type_: int, stripe: int, bytes_: int) -> None:
        """As `learn_totals`, of a type."""
        totals = self.type_totals.get(type_)
        if totals is not None:
            totals.learn(stripe, bytes_)

    async def read_type_totals(self, type_: int) -> None:
        """Look at the bytes of a type with a limit; asked after all stores that were sent."""
        field = b"t%d" % type_
        commands = [pack_command((b"HMGET", key, field)) for key in self.keys.stripe_keys]
        totals = self.type_totals.get(type_)
        if totals is None:
            return
        told = totals.told.copy()
        stripes = range(self.keys.stripes)
        replies = await ask_stripes(self.nodes, stripes, self.keys.stripe_keys, commands, is_partial=True)
        for stripe, reply in enumerate(replies):
            if reply is not None and totals.told[stripe] == told[stripe]:
                totals.take_over(stripe, unpack_counters(reply[0]).bytes)

    async def read_totals(self, *, is_partial: bool = False) -> Counters:
        """The pool's counters, summed over all stripes; asked on the stores' connections, after all that was sent.

        Args:
            is_partial: stripes whose node does not answer are left out, as long as any does; what was last known of
                them stays in `total_bytes` and `total_pages`.
        """
        told = self._told.copy()
        replies = await ask_stripes(
            self.nodes, range(self.keys.stripes), self.keys.stripe_keys, self._total_commands, is_partial=is_partial
        )
        # Added up as plain numbers: a cluster has a thousand stripes, and each look asks them all.
        total, reclaims = _NOTHING, Reclaims()
        unmarked = []
        for stripe, reply in enumerate(replies):
            if reply is None:
                continue
            field, identifier, gone = reply
            if gone:
                reclaims += unpack_reclaims(gone)
            if identifier != self.record.pool_id:
                unmarked.append(stripe)
            numbers = _COUNTERS.unpack(field) if field else _NOTHING
            total = tuple(map(add, total, numbers))
            # While other nodes were waited for, a change may have told what came after this reply.
            if self._told[stripe] == told[stripe]:
                self._take_over(stripe, int(numbers[0]), int(numbers[-1]))
        self.reclaims = reclaims
        for stripe in unmarked:
            await self.record.mark_lost_stripe(stripe)
        return Counters(*map(int, total))

    async def read_type(self, type_: int) -> tuple[Counters, Reclaims]:
        """The counters of one type, and what went of it by itself, summed over all stripes; of one moment in each."""
        return (await self.read_types([type_]))[0]

    async def read_types(self, types: Sequence[int]) -> list[tuple[Counters, Reclaims]]:
        """As `read_type`, of several."""
        counters, reclaims = [Counters()] * len(types), [Reclaims()] * len(types)
        if not types:
            return []
        fields = [field % type_ for type_ in types for field in (b"t%d", b"x%d")]
        commands = [pack_command((b"HMGET", key, *fields)) for key in self.keys.stripe_keys]
        stripes = range(self.keys.stripes)
        for reply in await ask_stripes(self.nodes, stripes, self.keys.stripe_keys, commands, is_load=True):
            for place, (held, gone) in enumerate(zip(reply[::2], reply[1::2], strict=True)):
                # Most types are in few stripes, and of most nothing ever went.
                if held:
                    counters[place] += unpack_counters(held)
                if gone:
                    reclaims[place] += unpack_reclaims(gone)
        return list(zip(counters, reclaims, strict=True))

    async def types_after(self, after: int, limit: int) -> list[int]:
        """At most `limit` types greater than `after` that hold pages, ascending."""
        keys = self.keys.types_keys
        tail = (b"(%d" % after, b"+inf", b"LIMIT", 0, limit)
        commands = [pack_command((b"ZRANGEBYSCORE", key, *tail)) for key in keys]
        replies = await ask_stripes(self.nodes, range(self.keys.stripes), keys, commands, is_load=True)
        return sorted({int(type_) for reply in replies for type_ in reply})[:limit]

    # Runs

    async def runs(self, type_: int, first: int, last: int, limit: int) -> list[int]:
        """At most `limit` runs of a type that hold a chunk, between `first` and `last`, ascending."""
        stripes = self.keys.stripes_of_runs(type_, first, last)
        keys = [self.keys.runs(stripe, type_) for stripe in stripes]
        commands = [pack_command((b"ZRANGEBYSCORE", key, first, last, b"LIMIT", 0, limit)) for key in keys]
        replies = await ask_stripes(self.nodes, stripes, keys, commands, is_load=True)
        return sorted(int(run) for reply in replies for run in reply)[:limit]

    async def chunks_of_run(self, type_: int, run: int) -> list[int]:
        """The chunks that are held in a run, ascending."""
        stripe = self.keys.stripe_of(type_, run << RUN_SHIFT)
        key = self.keys.maps(stripe, type_)
        field = checked(await self.nodes.of_key(key, is_load=True).send(pack_command((b"HGET", key, run))))
        held = int.from_bytes(field or b"", "little")
        return [(run << RUN_SHIFT) + place for place in range(RUN_CHUNKS) if held >> place & 1]

    async def read_run(
        self,
        type_: int,
        run: int,
        first_place: int,
        last_place: int,
        *,
        with_lengths: bool,
        policy: Policy | None = None,
    ) -> list[tuple[int, bytes, dict[int, int]]]:
        """The maps of a run's chunks from `first_place` to `last_place`, in one reply, without what is expired.

        Returns:
            For each chunk that is held: its number, its field "m", and the lengths of its blobs by index (empty unless
            asked for).
        """
        base = run << RUN_SHIFT
        stripe = self.keys.stripe_of(type_, base)
        chunks = [self.keys.chunk(stripe, type_, base + place) for place in range(first_place, last_place + 1)]
        keys = [self.keys.maps(stripe, type_), *chunks]
        cutoff = 0 if policy is None else policy.cutoff(self.server_time(stripe))
        arguments = [run, first_place, int(with_lengths), cutoff, 0 if policy is None else policy.since]
        reply = await call_script(self.nodes.of_key(keys[0], is_load=True), READ_RUN, keys, arguments)
        return [
            (base + place, field, dict(zip(lengths[::2], lengths[1::2], strict=True)))
            for place, field, lengths in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]


class TypeTotals:
    """What is known of one type's bytes in each stripe."""

    def __init__(self, stripes: int) -> None:
        self._of_stripe = [0] * stripes
        self.told = [0] * stripes
        """How many changes of the type have told its bytes."""
        self.bytes = 0

    def learn(self, stripe: int, bytes_: int) -> None:
        """Take over what a change's reply told."""
        self.told[stripe] += 1
        self.take_over(stripe, bytes_)

    def take_over(self, stripe: int, bytes_: int) -> None:
        """Take over what is in a stripe."""
        self.bytes += bytes_ - self._of_stripe[stripe]
        self._of_stripe[stripe] = bytes_
