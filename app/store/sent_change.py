"""One change on its way to Redis, and what its reply means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from app.errors import BackendUnavailable
from app.store.base import ChangeResult, PolicyOutdated, StateChanged
from app.store.chunk import check_word
from app.store.keys import INDEX_MASK, RUN_SHIFT
from app.store.multiplexer import Multiplexer, Reply
from app.store.replies import checked, error_code, is_no_script
from app.store.resp import command_with
from app.store.script_header import ChunkChange, Room, Status, pack_header
from app.store.scripts import CHANGE_CHUNK, PUT_CHUNK, load_command
from app.store.whole_chunk import COMMANDS, SCRIPT_AT, is_whole, transaction

if TYPE_CHECKING:
    from app.store.redis import RedisStore

_LOW_WORD: Final = 0xFFFF_FFFF
_BY_DIGEST: Final = (b"EVALSHA", CHANGE_CHUNK.sha)
_BY_TEXT: Final = (b"EVAL", CHANGE_CHUNK.text)


class SentChange:
    """A change on its way: sent when made, so that many leave in one write; `finish` awaits it."""

    __slots__ = ("_begun_at", "_change", "_is_transaction", "_keep", "_refuse", "_reply", "_room", "_store", "_stripe")

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
        connection = store.nodes.stores(self._stripe)
        self._is_transaction = room is None and not refuse and is_whole(change) and connection.has_transactions
        if self._is_transaction:
            self._reply = self._send_whole(connection)
        else:
            self._reply = self._send(connection, _BY_DIGEST)

    def _send_whole(self, connection: Multiplexer) -> asyncio.Future[Reply]:
        deadline = connection.deadline(self._begun_at)
        commands = transaction(self._change, self._keys(), self._store.record.pool_id, deadline)
        return connection.send_transaction(commands, COMMANDS)

    def _keys(self) -> tuple[bytes, ...]:
        keys, stripe = self._store.keys, self._stripe
        return keys.chunk(stripe, self._change.type, self._change.chunk), *keys.beside_chunks(stripe, self._change.type)

    def _resend(self, connection: Multiplexer) -> asyncio.Future[Reply]:
        return self._send(connection, _BY_TEXT)

    def _send(self, connection: Multiplexer, script: tuple[bytes, bytes]) -> asyncio.Future[Reply]:
        store, change = self._store, self._change
        type_, chunk = change.type, change.chunk
        cutoff = 0
        if change.policy is not None:
            cutoff = change.policy.cutoff(connection.server_time) if change.cutoff is None else change.cutoff
        header = pack_header(
            change,
            deadline=connection.deadline(self._begun_at),
            check=check_word(type_, chunk),
            place=chunk & INDEX_MASK,
            room=self._room,
            refuse=self._refuse,
            keep=self._keep,
            cutoff=cutoff,
        )
        items = (
            *script,
            b"5",
            *self._keys(),
            header,
            store.record.pool_id,
            b"%d" % type_,
            b"%d" % (chunk >> RUN_SHIFT),
            change.expected,
        )
        return connection.send_write(*command_with(items, change.blobs))

    async def finish(self) -> ChangeResult:
        """Wait for the change.

        Raises:
            StateChanged: the page is not in the expected state; nothing was changed.
            PolicyOutdated: the type has another policy by now; nothing was changed.
            StoreFull: Redis lacks memory; nothing was changed.
            BackendUnavailable: Redis is out of reach, or took too long; whether it was changed is not known, but it
                will not be from now on.
        """
        reply = await self._reply
        if self._is_transaction:
            reply = await self._end_of_transaction(reply)
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
            for_bytes, for_pages = _map(words[0:2]), _map(words[2:4])
            if len(words) == 4:  # noqa: PLR2004  a plain type has no limit of its own
                return ChangeResult(rest[2], bool(closed), hits, for_bytes, for_pages)
            self._store.learn_type_totals(self._change.type, self._stripe, words[8])
            return ChangeResult(rest[2], bool(closed), hits, for_bytes, for_pages, _map(words[4:6]), bool(words[6]))
        if status == Status.CHANGED:
            raise StateChanged
        if status == Status.OUTDATED:
            raise PolicyOutdated
        raise BackendUnavailable("Redis was reached too late.")

    async def _end_of_transaction(self, reply: Reply) -> Reply:
        """What the transaction's script answered; where it was not carried out, what change_chunk.lua answers."""
        if type(reply) is list:
            reply = reply[SCRIPT_AT]
            if type(reply) is list:
                return reply
        connection = self._store.nodes.stores(self._stripe)
        if is_no_script(reply):
            connection.send(load_command(PUT_CHUNK))
        elif error_code(reply) == "ERR" or "NOPERM" in str(reply):  # of EXEC it is told in an EXECABORT
            connection.give_up_transactions(str(reply))
        return await self._send(connection, _BY_DIGEST)

    async def _settled(self, reply: Reply) -> Any:
        nodes, key = self._store.nodes, self._store.keys.stripe_keys[self._stripe]
        return checked(await nodes.settle(reply, key, self._resend, begun_at=self._begun_at))


def _map(words: Sequence[int]) -> int:
    """A map of a chunk's pages from its two words, which Lua's bit operations give with a sign."""
    low, high = words
    return (high & _LOW_WORD) << 32 | low & _LOW_WORD
