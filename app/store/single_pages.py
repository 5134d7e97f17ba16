"""One page to load or to store: the commands that most requests are, without a future or a coroutine of their own.

Who asks gives a receiver (app/store/connection.py), which gets the reply as it comes. What the reply does not settle,
the long way does over: `RedisStore.fetch_page`, `RedisStore.begin_change`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from app.store.connection import Receiver, Reply
from app.store.keys import CHUNK_SHIFT, INDEX_MASK
from app.store.multiplexer import pack_command
from app.store.redis import ALL_FIELDS, RedisStore
from app.store.scripts import PUT_PAGE

_pack_header: Final = Struct("<dQB").pack
"""The header of put_page.lua."""

_BITS: Final = tuple(1 << index for index in range(INDEX_MASK + 1))


class SinglePages:
    """The short way to the pages of one store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._keys = store.keys
        self._nodes = store.nodes
        self._record = store.record

    def ask(self, type_: int, offset: int, receiver: Receiver, now: float) -> None:
        """Ask for a page; the receiver gets its chunk's field "m" and its blob, or an error reply.

        Raises:
            BackendUnavailable, Overloaded: nothing was sent.
        """
        stripe, key = self._keys.place(type_, offset >> CHUNK_SHIFT)
        command = pack_command((b"HMGET", key, b"m", ALL_FIELDS[(offset & INDEX_MASK) + 1]))
        self._nodes.loads(stripe).post(receiver, command, now)

    def put(self, type_: int, offset: int, kind: int, blob: bytes, receiver: Receiver, now: float) -> int:
        """Put a page, blob b"" for a zero page; the receiver gets what `is_done` understands, or an error reply.

        Returns:
            The stripe.

        Raises:
            BackendUnavailable, Overloaded: nothing was sent.
        """
        stripe, key = self._keys.place(type_, offset >> CHUNK_SHIFT)
        index = offset & INDEX_MASK
        connection = self._nodes.stores(stripe)
        command = pack_command(
            (
                b"EVALSHA",
                PUT_PAGE.sha,
                b"2",
                key,
                self._keys.stripe_keys[stripe],
                _pack_header(connection.deadline(now), _BITS[index], kind),
                self._record.pool_id,
                b"t%d" % type_,
                ALL_FIELDS[index + 1],
                blob,
            )
        )
        connection.post(receiver, command, now, is_write=True)
        return stripe

    def is_done(self, stripe: int, reply: Reply) -> bool:
        """Whether the page was put; if not, nothing was changed, and the long way says what is to be done."""
        if type(reply) is list:
            self._store.learn_totals(stripe, *reply)
            return True
        return type(reply) is int and reply == 0
