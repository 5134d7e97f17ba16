"""Reads for images, which tell a hole from pages that were lost (contract 2.4).

Each stripe bears the pool's UUID, and a mark where it came back without its pages. Both are asked for behind the read
that they vouch for, on the same connection: if they are right then, they were right when the read was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from app.errors import PagesLost
from app.store.chunk import ChunkMap, unpack
from app.store.keys import CHUNK_SHIFT, INDEX_MASK, RUN_SHIFT
from app.store.multiplexer import pack_command
from app.store.page_reads import join_fields, read_pages
from app.store.redis import RedisStore
from app.store.replies import ReplyError, checked

LOST: Final = "The backend lost pages of this image; `pagepool repair --accept-loss` goes on without them."


class ImageReads:
    """What an image asks of a store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def begin_pages(self, type_: int, first: int, count: int) -> SentRead:
        """Ask for `count` pages from offset `first`, all in one chunk: its field "m", and their blobs."""
        chunk, index = first >> CHUNK_SHIFT, first & INDEX_MASK
        stripe = self._store.keys.stripe_of(type_, chunk)
        key = self._store.keys.chunk(stripe, type_, chunk)
        return SentRead(self._store, stripe, key, read_pages(key, index, count), count)

    async def chunks_held(self, type_: int, run: int) -> int:
        """The 64-bit map of the chunks that are held in a run.

        Raises:
            PagesLost: they may have been lost.
        """
        stripe = self._store.keys.stripe_of(type_, run << RUN_SHIFT)
        key = self._store.keys.maps(stripe, type_)
        field = await SentRead(self._store, stripe, key, pack_command((b"HGET", key, b"%d" % run))).finish()
        return int.from_bytes(field or b"", "little")

    async def chunk_maps(self, type_: int, chunks: Sequence[int]) -> list[ChunkMap]:
        """The maps of some chunks, for a write: whether they were lost is not asked.

        Raises:
            PageCorrupt: one failed its check.
        """
        sent = []
        for chunk in chunks:
            stripe = self._store.keys.stripe_of(type_, chunk)
            key = self._store.keys.chunk(stripe, type_, chunk)
            command = pack_command((b"HGET", key, b"m"))
            sent.append(self._store.nodes.of_key(key, is_load=True).send(command))
        return [unpack(checked(await reply), type_, chunk) for chunk, reply in zip(chunks, sent, strict=True)]


class SentRead:
    """A read on its way, and behind it the question whether its stripe was lost; `finish` awaits both."""

    __slots__ = (
        "_command",
        "_key",
        "_nodes",
        "_pages",
        "_pool_id",
        "_reply",
        "_sent_at",
        "_stripe_key",
        "_stripe_reply",
        "seconds",
    )

    def __init__(self, store: RedisStore, stripe: int, key: bytes, command: bytes, pages: int = 0) -> None:
        """`command` asks for `key`; where it is `read_pages`, `pages` are asked for."""
        self._pages = pages
        self._nodes = store.nodes
        self._pool_id = store.record.pool_id
        self._key = key
        self._command = command
        self._stripe_key = store.keys.stripe_keys[stripe]
        self.seconds = 0.0
        """How long Redis took, once it has answered."""
        connection = store.nodes.loads(stripe)
        self._sent_at = perf_counter()
        self._reply = connection.send(self._command)
        self._stripe_reply = connection.send(self._ask_stripe)
        self._stripe_reply.add_done_callback(self._note_seconds)

    @property
    def _ask_stripe(self) -> bytes:
        return pack_command((b"HMGET", self._stripe_key, b"id", b"lost"))

    def _note_seconds(self, _: object) -> None:
        self.seconds = perf_counter() - self._sent_at

    async def finish(self) -> Any:
        """The reply.

        Raises:
            PagesLost: its stripe is not the one that this pool's pages were stored in, so that nothing can be said of
                what is absent.
            BackendUnavailable: Redis is out of reach.
        """
        reply, stripe_reply = await self._reply, await self._stripe_reply
        if isinstance(reply, ReplyError) or isinstance(stripe_reply, ReplyError):
            reply = await self._nodes.settle(reply, self._key, lambda node: node.send(self._command), is_load=True)
            # The question must come behind the read: where that was sent again, so is this.
            stripe_reply = await self._nodes.of_key(self._stripe_key, is_load=True).send(self._ask_stripe)
        identifier, lost = checked(stripe_reply)
        if identifier != self._pool_id or lost is not None:
            raise PagesLost(LOST)
        reply = checked(reply)
        if self._pages:
            join_fields(reply, self._pages)
        return reply
