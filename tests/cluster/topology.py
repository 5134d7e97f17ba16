"""A cluster whose masters the tests kill, and whose slots they move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from app.store.keys import KeySchema, slot_of_key
from tests.harness.redis_server import RedisCluster, RedisServer, until

MEND_SECONDS = 40.0
STRIPES = 1024


class TestedCluster(RedisCluster):
    """A cluster, and who is who in it now."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        """Redis waits five seconds by default before it sends a replica its first copy, in case others come too."""
        super().__init__(**{"cluster_node_timeout": "1000", "repl_diskless_sync_delay": "0", **options})

    def _asked(self) -> RedisServer:
        return next(node for node in self.nodes if node.process is not None and node.process.poll() is None)

    def master_of(self, slot: int) -> RedisServer:
        """The node that serves a slot now."""
        with self._asked().client() as client:
            for first, last, master, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == int(master[1]))
        raise AssertionError(f"nobody serves slot {slot}")

    def masters_now(self) -> list[RedisServer]:
        """Those that serve slots now."""
        with self._asked().client() as client:
            ports = {int(master[1]) for _, _, master, *_ in client.execute_command("CLUSTER", "SLOTS")}
        return [node for node in self.nodes if node.port in ports]

    def mend(self) -> None:
        """Start again what was killed, and wait until all agree."""
        for node in self.nodes:
            assert node.process is not None
            if node.process.poll() is not None:
                node.start()
        until(lambda: all(self._is_well(node) for node in self.nodes), MEND_SECONDS, "the cluster is whole")

    def _is_well(self, node: RedisServer) -> bool:
        try:
            return self._is_ok(node)
        except (redis.RedisError, OSError):
            return False


def stripe_key(namespace: str, type_: int, offset: int) -> bytes:
    """The key of the stripe that a page lies in."""
    keys = KeySchema(namespace, STRIPES)
    return keys.stripe_keys[keys.stripe_of(type_, offset // 64)]


class SlotMove:
    """The move of one slot from the node that serves it to another, step by step as `redis-cli --cluster` does it."""

    def __init__(self, cluster: TestedCluster, slot: int) -> None:
        self.cluster = cluster
        self.slot = slot
        self.source = cluster.master_of(slot)
        self.target = next(node for node in cluster.masters_now() if node is not self.source)

    @classmethod
    def of(cls, cluster: TestedCluster, key: bytes) -> SlotMove:
        """The move of the slot that a key lies in."""
        return cls(cluster, slot_of_key(key))

    @staticmethod
    def _id(node: RedisServer) -> bytes:
        with node.client() as client:
            return client.execute_command("CLUSTER", "MYID")

    def begin(self) -> None:
        """From now on the source asks for the target where it lacks a key."""
        with self.source.client() as source, self.target.client() as target:
            target.execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self._id(self.source))
            source.execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self._id(self.target))

    def keys(self) -> list[bytes]:
        """The slot's keys that the source still has."""
        with self.source.client() as client:
            return client.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, 1000)

    def move(self, *keys: bytes) -> None:
        """Move these keys."""
        if keys:
            with self.source.client() as client:
                client.execute_command("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS", *keys)

    def move_all(self, at_once: int = 100) -> Iterator[None]:
        """Move what there is, some keys at a time, also those that come while it goes."""
        while keys := self.keys():
            self.move(*keys[:at_once])
            yield

    def end(self) -> None:
        """The slot is the target's; the target is told first."""
        masters = [self.target, self.source, *self.cluster.masters_now()]
        identifier = self._id(self.target)
        for node in dict.fromkeys(masters):
            with node.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", self.slot, "NODE", identifier)
