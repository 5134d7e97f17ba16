"""A master, its replicas, and three sentinels that name another master when it fails."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.harness.redis_server import START_SECONDS, STOP_SECONDS, RedisServer, binary, free_port, until

NAME = "pages"
QUORUM = 2
CONFIGURATION = f"""\
port {{port}}
bind 127.0.0.1
dir {{directory}}
logfile {{directory}}/sentinel.log
sentinel monitor {NAME} 127.0.0.1 {{master}} {QUORUM}
sentinel down-after-milliseconds {NAME} 1000
sentinel failover-timeout {NAME} 4000
sentinel parallel-syncs {NAME} 2
"""


class Sentinel:
    """One redis-server in sentinel mode; it writes what it learns into its own configuration."""

    def __init__(self, master_port: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pp-sentinel-")
        directory = Path(self._directory.name)
        file = directory / "sentinel.conf"
        for attempt in range(5):
            self.port = free_port()
            file.write_text(CONFIGURATION.format(port=self.port, directory=directory, master=master_port))
            self.process = subprocess.Popen(
                [binary(), str(file), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            until(lambda: self._answers() or self.process.poll() is not None, START_SECONDS, "a sentinel answers")
            if self.process.poll() is None:
                return
            if attempt == 4:
                raise RuntimeError((directory / "sentinel.log").read_text()[-2000:])

    def client(self) -> redis.Redis:
        """A plain client; use it in a `with`."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def master_port(self) -> int:
        """The port of the master that it names."""
        with self.client() as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def sees_all(self, replicas: int, sentinels: int) -> bool:
        """Whether it knows its replicas, and the other sentinels."""
        with self.client() as client:
            state = client.sentinel_masters()[NAME]
        return state["num-slaves"] == replicas and state["num-other-sentinels"] == sentinels - 1

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(STOP_SECONDS)
        self._directory.cleanup()


class Watched:
    """A master with replicas, watched by three sentinels."""

    def __init__(self, replicas: int = 2) -> None:
        self.servers: list[RedisServer] = []
        self.sentinels: list[Sentinel] = []
        try:
            master = RedisServer(repl_diskless_sync_delay="0")
            self.servers.append(master)
            for _ in range(replicas):
                self.servers.append(RedisServer(replicaof=f"127.0.0.1 {master.port}", repl_diskless_sync_delay="0"))
            until(lambda: self._replicas(master) == replicas, START_SECONDS, "the replicas follow")
            for _ in range(3):
                self.sentinels.append(Sentinel(master.port))
            until(
                lambda: all(sentinel.sees_all(replicas, 3) for sentinel in self.sentinels),
                START_SECONDS,
                "the sentinels know each other and the replicas",
            )
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _replicas(master: RedisServer) -> int:
        with master.client() as client:
            return client.info("replication")["connected_slaves"]

    @property
    def url(self) -> str:
        """As a PAGEPOOL_REDIS_URL."""
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels) + f"/{NAME}"

    def master(self) -> RedisServer:
        """The master that the sentinels name now."""
        port = self.sentinels[0].master_port()
        return next(server for server in self.servers if server.port == port)

    def close(self) -> None:
        """End everything."""
        for sentinel in self.sentinels:
            sentinel.close()
        for server in self.servers:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
