"""Which master of a Redis Cluster serves which slots, as one of its nodes says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.store.endpoint import Endpoint

ANSWER_SECONDS: Final = 0.5
"""A node that has not answered within this is passed over for the next: one may hang while the others elect."""

Address = tuple[str, int]


class TopologyUnknown(Exception):
    """No node of the cluster says who serves what."""


@dataclass(frozen=True, slots=True)
class Served:
    """A range of slots, both ends included, and the master that serves it."""

    first: int
    last: int
    master: Address


class Topology:
    """Asks the nodes that it knows, each time another one first, since some may hang or lag behind."""

    def __init__(self, seeds: Sequence[Endpoint], timeout_seconds: float) -> None:
        self._seeds = seeds
        self._timeout = min(ANSWER_SECONDS, timeout_seconds)
        self._known: set[Address] = set()
        self._clients: dict[Address, Redis] = {}

    async def ask(self) -> list[Served]:
        """Who serves what now.

        Raises:
            TopologyUnknown: nobody said.
        """
        known = list(self._known)
        random.shuffle(known)
        seeds = [(seed.host, seed.port) for seed in self._seeds if (seed.host, seed.port) not in self._known]
        problem = "no node is known"
        for address in [*known, *seeds]:
            try:
                async with asyncio.timeout(self._timeout):
                    reply = await _cluster_slots(self._client(address))
            except (RedisError, OSError, TimeoutError) as error:
                problem = f"{address[0]}:{address[1]}: {str(error) or type(error).__name__}"
                continue
            if reply:
                return await self._read(reply, address)
            problem = f"{address[0]}:{address[1]}: no slot is served"
        raise TopologyUnknown(problem)

    async def _read(self, reply: Sequence[Any], asked: Address) -> list[Served]:
        served, known = [], set()
        for first, last, *nodes in reply:
            # A node that does not know its own name leaves it out: it is where it was asked.
            addresses = [(node[0].decode() if node[0] else asked[0], int(node[1])) for node in nodes]
            known.update(addresses)
            served.append(Served(first, last, addresses[0]))
        await self._forget(set(self._clients) - known - {(seed.host, seed.port) for seed in self._seeds})
        self._known = known
        return served

    def _client(self, address: Address) -> Redis:
        if address not in self._clients:
            self._clients[address] = client_of(self._seeds[0].at(*address), self._timeout)
        return self._clients[address]

    async def _forget(self, addresses: Iterable[Address]) -> None:
        for address in list(addresses):
            await self._clients.pop(address).aclose()

    async def close(self) -> None:
        """End every connection."""
        await self._forget(self._clients)


async def _cluster_slots(client: Redis) -> list[Any]:
    reply: list[Any] = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    return reply


def client_of(endpoint: Endpoint, timeout_seconds: float) -> Redis:
    """A plain client for one server: no retries, since whoever asks has other servers to ask."""
    return Redis(
        host=endpoint.host,
        port=endpoint.port,
        username=endpoint.username,
        password=endpoint.password,
        ssl=endpoint.is_tls,
        ssl_ca_certs=str(endpoint.ca_file) if endpoint.ca_file else None,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=4,
        protocol=2,
        decode_responses=False,
    )
