"""Which connections reach which stripe: one node for all on a single Redis, many on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from app.settings import Settings
from app.store.endpoint import Server
from app.store.link import Link
from app.store.multiplexer import Multiplexer, Reply
from app.store.replies import error_code

Resend = Callable[[Multiplexer], Awaitable[Reply]]
"""Sends a command once more, to the connection given."""


RECONNECT_AT_MOST_EVERY_SECONDS: Final = 1.0
"""A Redis that stays read-only answers loads, which a connection made anew each time would not let it."""


class Route(Protocol):
    """Takes a packed command to whoever serves its key; raises BackendUnavailable where nobody does."""

    def send(self, command: bytes, /) -> Awaitable[Reply]: ...


class Nodes:
    """The node of a single Redis, behind the methods that a cluster needs too."""

    is_cluster = False

    def __init__(self, server: Server, settings: Settings) -> None:
        self.after_replies: list[Callable[[], None]] = []
        """What is to be done whenever replies have come: once for all that came together."""
        self.after_connecting: list[Callable[[], None]] = []
        """What is to be done whenever a connection has been made."""
        self.waits_for_replicas = settings.store_replicas > 0
        """Whether stores leave in batches, each after the replicas have the one before."""
        self._link = Link(server, settings, self.after_replies, self.after_connecting)
        self._reconnected_at = 0.0

    async def start(self) -> None:
        """Begin to connect; returns once every connection has tried once."""
        await self._link.start()

    async def close(self) -> None:
        """End every connection."""
        await self._link.close()

    def spread(self, tags: Sequence[bytes]) -> None:
        """Learn the stripes' hash tags, before `loads` and `stores` are asked."""

    # Where commands go. Error replies come as values; `settle` says what those of a cluster mean.

    def loads(self, stripe: int) -> Multiplexer:  # noqa: ARG002  a cluster asks
        """The connection for commands that change nothing in a stripe."""
        return self._link.loads

    def stores(self, stripe: int) -> Multiplexer:  # noqa: ARG002
        """The connection for changes of a stripe."""
        return self._link.stores

    def of_key(self, key: bytes, *, is_load: bool = False) -> Route:  # noqa: ARG002
        """The way to a key, in a stripe or not, for what is not asked often; redirections are followed."""
        return self._link.loads if is_load else self._link.stores

    def all_loads(self) -> list[Multiplexer]:
        """One connection to every node."""
        return [self._link.loads]

    async def settle(
        self,
        reply: Reply,
        key: bytes,  # noqa: ARG002
        resend: Resend,
        *,
        begun_at: float | None = None,  # noqa: ARG002
        is_load: bool = False,
    ) -> Reply:
        """What a command that was answered with an error is answered with in the end.

        A command that Redis refused to carry out where it was sent is sent again where it belongs. One whose answer
        was lost never is: it may have been carried out.

        Args:
            reply: what it was answered with; anything but an error is given back as it is.
            key: a key that it names.
            resend: sends it again, and with its script's text rather than digest.
            begun_at: when it was first sent (time.monotonic); left out for a command that has only just been.
            is_load: it belongs to the connections for loads.
        """
        code = error_code(reply)
        if code == "NOSCRIPT":
            return await resend(self._link.loads if is_load else self._link.stores)
        if code == "READONLY":
            # Where the address is a name, or a sentinel is asked, the next connection reaches the new master.
            now = time.monotonic()
            if now > self._reconnected_at + RECONNECT_AT_MOST_EVERY_SECONDS:
                self._reconnected_at = now
                self._link.reconnect()
        return reply

    # How they are

    @property
    def is_reachable(self) -> bool:
        """Whether any node can be used now."""
        return self._link.is_connected

    @property
    def lost_nodes(self) -> list[str]:
        """The masters that do not answer."""
        return []

    @property
    def last_error(self) -> str:
        """Why no node can be used."""
        return self._link.loads.last_error

    async def wait_reachable(self, seconds: float) -> bool:
        """Wait until a node can be used, for so long at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.is_reachable:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True
