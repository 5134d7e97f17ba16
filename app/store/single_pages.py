"""One page to load or to store: the commands that most requests are, without a future or a coroutine of their own.

Who asks gives a receiver (app/store/connection.py), which gets the reply as it comes. What the reply does not settle,
the long way does over: `RedisStore.fetch_page`, `RedisStore.begin_change`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from app.store.connection import Receiver, Reply
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK
from app.store.redis import RedisStore
from app.store.scripts import PUT_PAGE

HEADER: Final = Struct("<dQB")
"""The header of put_page.lua."""
_pack_header: Final = HEADER.pack
_BITS: Final = tuple(1 << index for index in range(CHUNK_PAGES))

# The commands as they go out (RESP's arrays of bulk strings), written by hand: hiredis takes three times as long.
_BULK_INDEX: Final = tuple(b"$%d\r\n%d" % (len(str(index)), index) for index in range(CHUNK_PAGES))
_HMGET: Final = b"*4\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n$1\r\nm\r\n%b\r\n"
_PUT_PAGE: Final = (
    b"*10\r\n$7\r\nEVALSHA\r\n$40\r\n" + PUT_PAGE.sha + b"\r\n$1\r\n2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
    b"$" + b"%d" % HEADER.size + b"\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b\r\n$%d\r\n%b\r\n"
)


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
        command = _HMGET % (len(key), key, _BULK_INDEX[offset & INDEX_MASK])
        self._nodes.loads(stripe).ready().post(receiver, command, now, is_write=False)

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
        stripe_key, pool_id, type_field = self._keys.stripe_keys[stripe], self._record.pool_id, b"t%d" % type_
        command = _PUT_PAGE % (
            len(key),
            key,
            len(stripe_key),
            stripe_key,
            _pack_header(connection.deadline(now), _BITS[index], kind),
            len(pool_id),
            pool_id,
            len(type_field),
            type_field,
            _BULK_INDEX[index],
            len(blob),
            blob,
        )
        connection.ready().post(receiver, command, now, is_write=True)
        return stripe

    def is_done(self, stripe: int, reply: Reply) -> bool:
        """Whether the page was put; if not, nothing was changed, and the long way says what is to be done."""
        if type(reply) is list:
            self._store.learn_totals(stripe, *reply)
            return True
        return type(reply) is int and reply == 0
