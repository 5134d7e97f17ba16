"""The nodes of a Redis Cluster: a pair of connections to each master, and what a cluster's refusals mean.

    MOVED        the slot is another node's: learn that, send it there, ask for the topology
    ASK          the key is on its way to another node: ASKING and the command leave for it in one write
    TRYAGAIN     a command's keys are on both sides of a slot that is being moved: again, until the deadline
    NOSCRIPT     a promoted replica, or a node that was restarted: again, with the script's text
    READONLY     the node is no master any more: connect anew, ask for the topology, refuse
    CLUSTERDOWN, LOADING, MASTERDOWN      ask for the topology, refuse

What is sent again was refused before it began, so it is sent again without doubt; never so a write whose connection was
lost. It keeps the deadline that it had at first, told in the clock of the node that it goes to.

A node's commands fail at once while it is out of reach, and those for other nodes go on. The topology is asked for
twice a second and when a refusal tells that it changed, and a link to what is no master any more is kept until nothing
that was sent there can take effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Final

from app.errors import BackendUnavailable
from app.settings import Settings
from app.store.endpoint import Endpoint
from app.store.keys import CLUSTER_SLOTS, slot_of, slot_of_key
from app.store.link import Link
from app.store.multiplexer import Multiplexer, Reply, pack_command
from app.store.nodes import Nodes, Resend, Route
from app.store.replies import error_code
from app.store.topology import Address, Served, Topology, TopologyUnknown
from app.tasks import end

logger = logging.getLogger("pagepool.store")

ASK_EVERY_SECONDS: Final = 0.5
ASK_AT_MOST_EVERY_SECONDS: Final = 0.05
ASKED_SECONDS: Final = 10.0
"""A node that serves no slot yet is kept connected for so long after a command was redirected to it."""

PAUSE_FIRST_SECONDS: Final = 0.005
PAUSE_LAST_SECONDS: Final = 0.1
REDIRECTIONS_AT_ONCE: Final = 2
"""After so many a pause comes first: two nodes that send to each other have yet to agree."""

LOAD_SHARE: Final = 0.5
"""Of the timeout, what a load that was redirected may still take: it has already waited for one answer."""

_ASKING: Final = pack_command((b"ASKING",))
_FOLLOWED: Final = frozenset({"MOVED", "ASK", "TRYAGAIN", "NOSCRIPT"})
_OUTDATED: Final = frozenset({"CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"})


class ClusterNodes(Nodes):
    """The masters of a cluster, each with the slots that it serves."""

    is_cluster = True

    def __init__(self, seeds: Sequence[Endpoint], settings: Settings) -> None:
        self._seed = seeds[0]
        self._settings = settings
        self._timeout = settings.redis_timeout
        self.after_replies = []
        self.after_connecting = []
        self.waits_for_replicas = settings.store_replicas > 0
        self._topology = Topology(seeds, settings.redis_timeout)
        self._links: dict[Address, Link] = {}
        self._by_slot: list[Link | None] = [None] * CLUSTER_SLOTS
        self._masters: list[Address] = []
        self._asked: dict[Address, float] = {}
        self._stripe_slots: tuple[int, ...] = ()
        self._is_outdated = asyncio.Event()
        self._problem = "no node has answered yet"
        self._follower: asyncio.Task[None] | None = None
        self._starts: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()

    # Life

    async def start(self) -> None:
        """Ask for the topology, and begin to connect; returns once every connection has tried once."""
        await self._refresh()
        if self._starts:
            await asyncio.gather(*self._starts)
        self._follower = asyncio.create_task(self._follow(), name="redis topology")

    async def close(self) -> None:
        """End every connection."""
        await end(*self._starts, *self._ends, self._follower)
        await asyncio.gather(*(link.close() for link in self._links.values()), self._topology.close())

    def spread(self, tags: Sequence[bytes]) -> None:
        """Learn the stripes' hash tags, before `loads` and `stores` are asked."""
        self._stripe_slots = tuple(slot_of(tag) for tag in tags)

    # Where commands go

    def loads(self, stripe: int) -> Multiplexer:
        """The connection for commands that change nothing in a stripe."""
        return self._serving(self._stripe_slots[stripe]).loads

    def stores(self, stripe: int) -> Multiplexer:
        """The connection for changes of a stripe."""
        return self._serving(self._stripe_slots[stripe]).stores

    def of_key(self, key: bytes, *, is_load: bool = False) -> Route:
        """The way to a key, in a stripe or not, for what is not asked often; redirections are followed."""
        return _Route(self, key, is_load=is_load)

    def connection_of(self, key: bytes, *, is_load: bool) -> Multiplexer:
        """The connection to the node that serves a key."""
        link = self._serving(slot_of_key(key))
        return link.loads if is_load else link.stores

    def all_loads(self) -> list[Multiplexer]:
        """One connection to every master."""
        return [self._links[address].loads for address in self._masters]

    def _serving(self, slot: int) -> Link:
        link = self._by_slot[slot]
        if link is None:
            raise BackendUnavailable(f"No node of the cluster serves a slot: {self._problem}.")
        return link

    # Refusals

    async def settle(
        self, reply: Reply, key: bytes, resend: Resend, *, begun_at: float | None = None, is_load: bool = False
    ) -> Reply:
        """What a command that was answered with an error is answered with in the end (see `Nodes.settle`)."""
        slot = slot_of_key(key)
        if error_code(reply) in _FOLLOWED:
            seconds = self._timeout * LOAD_SHARE if begun_at is None else begun_at + self._timeout - time.monotonic()
            # A task of its own: a timeout needs one, and the protocol door runs its requests without.
            following = self._follow_refusals(reply, slot, resend, seconds, is_load=is_load)
            reply = await asyncio.get_running_loop().create_task(following)
        code = error_code(reply)
        if code in _OUTDATED:
            self._is_outdated.set()
            if code == "READONLY":
                self._serving(slot).reconnect()
        return reply

    async def _follow_refusals(
        self, reply: Reply, slot: int, resend: Resend, seconds: float, *, is_load: bool
    ) -> Reply:
        redirections, pause = 0, PAUSE_FIRST_SECONDS
        try:
            async with asyncio.timeout(seconds):
                while (code := error_code(reply)) in _FOLLOWED:
                    if code in {"MOVED", "ASK"}:
                        redirections += 1
                        link = self._redirected(str(reply), slot)
                    else:
                        link = self._serving(slot)
                    if code == "TRYAGAIN" or redirections > REDIRECTIONS_AT_ONCE:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, PAUSE_LAST_SECONDS)
                    connection = link.loads if is_load else link.stores
                    await connection.wait_connected()
                    if code == "ASK":
                        # Not awaited in between, so that both leave in one write.
                        connection.send(_ASKING)
                    reply = await resend(connection)
        except TimeoutError:
            raise BackendUnavailable("The cluster is moving the page, or has not agreed where it is.") from None
        return reply

    def _redirected(self, refusal: str, slot: int) -> Link:
        """The node that a refusal, MOVED or ASK, names."""
        code, _, address = refusal.split(" ", 2)
        host, _, port = address.rpartition(":")
        # A node that does not know its own name leaves it out: it is where the cluster was first found.
        link = self._link_to((host or self._seed.host, int(port)))
        if code == "MOVED":
            self._by_slot[slot] = link
            self._is_outdated.set()
        return link

    # Topology

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY_SECONDS):
                    await self._is_outdated.wait()
            self._is_outdated.clear()
            await self._refresh()
            await asyncio.sleep(ASK_AT_MOST_EVERY_SECONDS)

    async def _refresh(self) -> None:
        try:
            served = await self._topology.ask()
        except TopologyUnknown as error:
            self._problem = str(error)
            return
        self._adopt(served)

    def _adopt(self, served: Sequence[Served]) -> None:
        by_slot: list[Link | None] = [None] * CLUSTER_SLOTS
        for part in served:
            by_slot[part.first : part.last + 1] = [self._link_to(part.master)] * (part.last + 1 - part.first)
        self._by_slot = by_slot
        masters = sorted({part.master for part in served})
        if masters != self._masters:
            logger.info("the cluster's masters are %s", ", ".join(map(_text, masters)))
        self._masters = masters
        self._problem = "it is not covered"
        now = time.monotonic()
        for address in set(self._links) - set(masters):
            if now - self._asked[address] > ASKED_SECONDS:
                del self._asked[address]
                self._begin_end(self._links.pop(address))

    def _link_to(self, address: Address) -> Link:
        self._asked[address] = time.monotonic()
        if address not in self._links:
            callbacks = self.after_replies, self.after_connecting
            link = self._links[address] = Link(self._seed.at(*address), self._settings, *callbacks)
            _keep(self._starts, asyncio.create_task(link.start(), name=f"redis {_text(address)}"))
        return self._links[address]

    def _begin_end(self, link: Link) -> None:
        """Close a link once all that was sent on it has been answered, or can take no effect any more."""

        async def close_later() -> None:
            try:
                await asyncio.sleep(2 * self._timeout)
            finally:
                await link.close()

        _keep(self._ends, asyncio.create_task(close_later(), name="redis link's end"))

    # How they are

    @property
    def is_reachable(self) -> bool:
        """Whether any master can be used now."""
        return any(self._links[address].is_connected for address in self._masters)

    @property
    def lost_nodes(self) -> list[str]:
        """The masters that do not answer, as host:port."""
        return [_text(address) for address in self._masters if not self._links[address].is_connected]

    @property
    def last_error(self) -> str:
        """Why no master can be used."""
        if not self._masters:
            return self._problem
        return "; ".join(f"{_text(address)}: {self._links[address].loads.last_error}" for address in self._masters)


class _Route:
    """The way to one key."""

    __slots__ = ("_is_load", "_key", "_nodes")

    def __init__(self, nodes: ClusterNodes, key: bytes, *, is_load: bool) -> None:
        self._nodes = nodes
        self._key = key
        self._is_load = is_load

    def send(self, command: bytes, /) -> asyncio.Future[Reply]:
        """Send a command; the future gives its reply, error replies but for redirections as values."""
        sent = self._nodes.connection_of(self._key, is_load=self._is_load).send(command)
        return asyncio.ensure_future(self._finish(sent, command))

    async def _finish(self, sent: asyncio.Future[Reply], command: bytes) -> Reply:
        reply = await sent
        if error_code(reply) == "NOSCRIPT":
            # The caller has the script's text.
            return reply
        return await self._nodes.settle(reply, self._key, lambda node: node.send(command), is_load=self._is_load)


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _keep(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    """Hold on to a task until it ends: the event loop itself would not."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
