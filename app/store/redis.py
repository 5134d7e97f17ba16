"""Chunks in Redis: what a load reads, and what a store changes, each one round trip.

Loads are plain HMGETs (the chunk's map and the fields asked for); every change is one script on one slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from struct import Struct
from time import monotonic
from typing import Any, Final

from app.errors import BackendUnavailable
from app.store.base import ChangeResult, Counters, StateChanged
from app.store.chunk import check_word
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK, RUN_CHUNKS, RUN_SHIFT
from app.store.multiplexer import Multiplexer, Reply, pack_command
from app.store.nodes import Nodes
from app.store.record import PoolRecord
from app.store.replies import checked
from app.store.script_header import ChunkChange, Room, Status, pack_header
from app.store.scripts import CHANGE_CHUNK, READ_RUN, call_script
from app.store.survey import ask_stripes

_COUNTERS: Final = Struct("<5d")
_ALL_FIELDS: Final = (b"m", *(b"%d" % index for index in range(CHUNK_PAGES)))
_LOW_WORD: Final = 0xFFFF_FFFF


def unpack_counters(field: bytes | None) -> Counters:
    """Decode a stripe's field "n" or "t<TYPE>"."""
    return Counters(*map(int, _COUNTERS.unpack(field))) if field else Counters()


def pack_counters(counters: Counters) -> bytes:
    """Encode counters as a stripe keeps them."""
    return _COUNTERS.pack(counters.pages, counters.zero, counters.same, counters.raw, counters.bytes)


class RedisStore:
    """The chunks of one pool."""

    def __init__(self, nodes: Nodes, record: PoolRecord) -> None:
        keys = record.keys
        nodes.spread(keys.tags)
        self.nodes = nodes
        self.record = record
        self.keys = keys
        self._total_commands = [pack_command((b"HMGET", key, b"n", b"id")) for key in keys.stripe_keys]
        self.stripe_pages = [0] * keys.stripes
        self.stripe_bytes = [0] * keys.stripes
        self.total_pages = 0
        self.total_bytes = 0

    # Loads

    async def fetch_page(self, type_: int, chunk: int, index: int) -> list[bytes | None]:
        """A chunk's field "m", and the blob of one of its pages."""
        stripe = self.keys.stripe_of(type_, chunk)
        key = self.keys.chunk(stripe, type_, chunk)
        command = pack_command((b"HMGET", key, b"m", _ALL_FIELDS[index + 1]))
        reply = await self.nodes.loads(stripe).send(command)
        return reply if type(reply) is list else await self._settle_load(reply, key, command)

    async def _settle_load(self, reply: Reply, key: bytes, command: bytes) -> Any:
        return checked(await self.nodes.settle(reply, key, lambda node: node.send(command), is_load=True))

    async def fetch_pages(self, type_: int, first: int, count: int) -> list[tuple[int, int, int, list[bytes | None]]]:
        """The chunks that hold `count` pages from offset `first`: all are asked for at once.

        Returns:
            For each chunk: its number, the first index and the count of the pages asked for, and the reply: its field
            "m" followed by the blobs.
        """
        pieces = []
        offset, end = first, first + count
        while offset < end:
            chunk, index = offset >> CHUNK_SHIFT, offset & INDEX_MASK
            taken = min(CHUNK_PAGES - index, end - offset)
            stripe = self.keys.stripe_of(type_, chunk)
            fields = _ALL_FIELDS[index + 1 : index + 1 + taken]
            key = self.keys.chunk(stripe, type_, chunk)
            command = pack_command((b"HMGET", key, b"m", *fields))
            pieces.append((chunk, index, taken, self.nodes.loads(stripe).send(command), key, command))
            offset += taken
        held = []
        for chunk, index, taken, pending, key, command in pieces:
            reply = await pending
            if type(reply) is not list:
                reply = await self._settle_load(reply, key, command)
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
        """Take over a stripe's counters, as a reply just told them."""
        self.total_pages += pages - self.stripe_pages[stripe]
        self.total_bytes += bytes_ - self.stripe_bytes[stripe]
        self.stripe_pages[stripe], self.stripe_bytes[stripe] = pages, bytes_

    async def read_totals(self, *, is_partial: bool = False) -> Counters:
        """The pool's counters, summed over all stripes; asked on the stores' connections, after all that was sent.

        Args:
            is_partial: stripes whose node does not answer are left out, as long as any does; what was last known of
                them stays in `total_bytes` and `total_pages`.
        """
        replies = await ask_stripes(
            self.nodes, range(self.keys.stripes), self.keys.stripe_keys, self._total_commands, is_partial=is_partial
        )
        total = Counters()
        unmarked = []
        for stripe, reply in enumerate(replies):
            if reply is None:
                continue
            field, identifier = reply
            if identifier != self.record.pool_id:
                unmarked.append(stripe)
            if field is not None:
                counters = unpack_counters(field)
                self.learn_totals(stripe, counters.pages, counters.bytes)
                total += counters
            else:
                self.learn_totals(stripe, 0, 0)
        for stripe in unmarked:
            await self.record.mark_lost_stripe(stripe)
        return total

    async def read_type(self, type_: int) -> Counters:
        """The counters of one type, summed over all stripes."""
        return (await self.read_types([type_]))[0]

    async def read_types(self, types: Sequence[int]) -> list[Counters]:
        """The counters of several types."""
        fields = [b"t%d" % type_ for type_ in types]
        totals = [Counters()] * len(fields)
        if not fields:
            return totals
        commands = [pack_command((b"HMGET", key, *fields)) for key in self.keys.stripe_keys]
        stripes = range(self.keys.stripes)
        for reply in await ask_stripes(self.nodes, stripes, self.keys.stripe_keys, commands, is_load=True):
            totals = [total + unpack_counters(field) for total, field in zip(totals, reply, strict=True)]
        return totals

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
        self, type_: int, run: int, first_place: int, last_place: int, *, with_lengths: bool
    ) -> list[tuple[int, bytes, dict[int, int]]]:
        """The maps of a run's chunks from `first_place` to `last_place`, in one reply.

        Returns:
            For each chunk that is held: its number, its field "m", and the lengths of its blobs by index (empty unless
            asked for).
        """
        base = run << RUN_SHIFT
        stripe = self.keys.stripe_of(type_, base)
        chunks = [self.keys.chunk(stripe, type_, base + place) for place in range(first_place, last_place + 1)]
        keys = [self.keys.maps(stripe, type_), *chunks]
        arguments = [run, first_place, int(with_lengths)]
        reply = await call_script(self.nodes.of_key(keys[0], is_load=True), READ_RUN, keys, arguments)
        return [
            (base + place, field, dict(zip(lengths[::2], lengths[1::2], strict=True)))
            for place, field, lengths in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]


class SentChange:
    """A change on its way: sent when made, so that many leave in one write; `finish` awaits it."""

    __slots__ = ("_begun_at", "_change", "_keep", "_refuse", "_reply", "_room", "_store", "_stripe")

    def __init__(
        self,
        store: RedisStore,
        change: ChunkChange,
        room: Room | None,
        *,
        refuse: bool,
        keep: bool,
        begun_at: float | None = None,
    ) -> None:
        self._store = store
        self._change = change
        self._room = room
        self._refuse = refuse
        self._keep = keep
        self._stripe = store.keys.stripe_of(change.type, change.chunk)
        self._begun_at = monotonic() if begun_at is None else begun_at
        self._reply = self._send(store.nodes.stores(self._stripe), (b"EVALSHA", CHANGE_CHUNK.sha))

    def _resend(self, connection: Multiplexer) -> asyncio.Future[Reply]:
        return self._send(connection, (b"EVAL", CHANGE_CHUNK.text))

    def _send(self, connection: Multiplexer, script: tuple[bytes, bytes]) -> asyncio.Future[Reply]:
        store, change, stripe = self._store, self._change, self._stripe
        keys = store.keys
        type_, chunk = change.type, change.chunk
        header = pack_header(
            change,
            deadline=connection.deadline(self._begun_at),
            check=check_word(type_, chunk),
            place=chunk & INDEX_MASK,
            room=self._room,
            refuse=self._refuse,
            keep=self._keep,
        )
        command = pack_command(
            (
                *script,
                5,
                keys.chunk(stripe, type_, chunk),
                *keys.beside_chunks(stripe, type_),
                header,
                store.record.pool_id,
                type_,
                chunk >> RUN_SHIFT,
                change.expected,
                *change.blobs,
            )
        )
        return connection.send_write(command)

    async def finish(self) -> ChangeResult:
        """Wait for the change.

        Raises:
            StateChanged: the page is not in the expected state; nothing was changed.
            StoreFull: Redis lacks memory; nothing was changed.
            BackendUnavailable: Redis is out of reach, or took too long; whether it was changed is not known, but it
                will not be from now on.
        """
        reply = await self._reply
        if type(reply) is not list:
            reply = await self._settled(reply)
        status, *rest = reply
        if status == Status.LOST:
            await self._store.record.mark_lost_stripe(self._stripe)
            connection = self._store.nodes.stores(self._stripe)
            status, *rest = await self._settled(await self._resend(connection))
        if status == Status.DONE:
            self._store.learn_totals(self._stripe, rest[0], rest[1])
            if len(rest) == 3:  # noqa: PLR2004  pages, bytes, dropped
                return ChangeResult(rest[2])
            closed, hits, *words = rest[3:]
            refused = [(high & _LOW_WORD) << 32 | low & _LOW_WORD for low, high in (words[:2], words[2:])]
            return ChangeResult(rest[2], bool(closed), hits, *refused)
        if status == Status.CHANGED:
            raise StateChanged
        raise BackendUnavailable("Redis was reached too late.")

    async def _settled(self, reply: Reply) -> Any:
        nodes, key = self._store.nodes, self._store.keys.stripe_keys[self._stripe]
        return checked(await nodes.settle(reply, key, self._resend, begun_at=self._begun_at))
