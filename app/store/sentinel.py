"""A Redis whose master the sentinels name: asked for each new connection, and twice a second whether it changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from app.settings import Settings
from app.store.endpoint import Endpoint
from app.store.nodes import Nodes
from app.store.topology import Address, client_of
from app.tasks import end

logger = logging.getLogger("pagepool.store")

SENTINEL_PORT: Final = 26379
ASK_EVERY_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 0.5


class MasterServer:
    """Whoever the sentinels say is the master now."""

    must_be_master = True

    def __init__(self, sentinels: Sequence[Endpoint], master_name: str, credentials: Endpoint, timeout: float) -> None:
        """The credentials, database and TLS of `credentials` are the master's; each sentinel has its own."""
        self._name = master_name
        self._credentials = credentials
        self._sentinel = Sentinel([])  # type: ignore[no-untyped-call]
        self._sentinel.sentinels = [client_of(each, min(ANSWER_SECONDS, timeout)) for each in sentinels]
        self.address: Address | None = None
        """The master that the last connection was made to."""

    async def find(self) -> Address:
        """The master's address.

        Raises:
            OSError: no sentinel knows one.
        """
        try:
            host, port = await self._sentinel.discover_master(self._name)
        except RedisError as error:
            raise OSError(f"no sentinel names a master: {error}") from error
        return host, int(port)

    async def connect(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol]) -> None:
        """Open a connection to the master; OSError when it cannot be had."""
        self.address = await self.find()
        await self._credentials.at(*self.address).connect(loop, factory)

    def greeting(self) -> list[tuple[bytes | str | int, ...]]:
        """The commands that a new connection begins with."""
        return self._credentials.greeting()

    async def close(self) -> None:
        """End the connections to the sentinels."""
        sentinels: list[Any] = self._sentinel.sentinels
        for client in sentinels:
            await client.aclose()


class SentinelNodes(Nodes):
    """One master, and another after a failover."""

    def __init__(self, server: MasterServer, settings: Settings) -> None:
        super().__init__(server, settings)
        self._server = server
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; returns once every connection has tried once."""
        await super().start()
        self._follower = asyncio.create_task(self._follow(), name="redis sentinels")

    async def close(self) -> None:
        """End every connection."""
        await end(self._follower)
        await super().close()
        await self._server.close()

    async def _follow(self) -> None:
        """Leave a master that hangs, or was cut off from its sentinels, once they have named another."""
        while True:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            try:
                address = await self._server.find()
            except OSError:
                continue
            if self.is_reachable and address != self._server.address:
                logger.info("the sentinels name another master: %s:%d", *address)
                self._link.reconnect()
