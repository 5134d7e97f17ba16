"""A service, its Redis and a proxy between them, random clients, and the judgement over what they saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from app.pool.audit import AuditReport, audit
from app.settings import Settings
from app.wiring import open_store
from tests.faults.checker import Rules, check
from tests.faults.clients import ADDRESSES, Clients
from tests.faults.history import Event, Value, What
from tests.faults.proxy import Proxy
from tests.faults.recount import recount
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service

TIMEOUT_SECONDS = 0.5
"""PAGEPOOL_REDIS_TIMEOUT of every service here."""

BOUND_SECONDS = TIMEOUT_SECONDS + 1.0
"""The contract's bound on every answer while the worker lives."""

MACHINE_SECONDS = 1.5
"""On top of a bound: what a busy test machine may add."""

RECOVERY_SECONDS = 5.0
"""Work resumes within this of Redis (contract 2.6)."""


class World:
    """A deployment under fire. `under_fire` wraps a fault; at its end everything is judged.

    Args:
        proxied: the service reaches Redis through a proxy.
        embedded: the persistence of an embedded Redis instead of one of the world's own.
        redis_options: of the world's own Redis.
        settings: of the service.
    """

    def __init__(
        self,
        *,
        proxied: bool = False,
        embedded: str | None = None,
        redis_options: dict[str, str] | None = None,
        seed: int = 1,
        clients: int = 6,
        **settings: str,
    ) -> None:
        self._stack = ExitStack()
        self.backend: RedisServer | None = None
        self.proxy: Proxy | None = None
        settings = {"redis_timeout": str(TIMEOUT_SECONDS), "max_pool_bytes": "0", **settings}
        with ExitStack() as stack:
            if embedded is None:
                self.backend = stack.enter_context(RedisServer(**(redis_options or {})))
                settings["redis_url"] = self.backend.tcp_url
                if proxied:
                    self.proxy = stack.enter_context(Proxy(self.backend.port))
                    settings["redis_url"] = self.proxy.url
                self.persistence = _persistence_of(self.backend)
            else:
                settings["persistence"] = self.persistence = embedded
            self.service = stack.enter_context(Service(**settings))
            self._stack = stack.pop_all()
        self.clients = Clients(
            "127.0.0.1",
            lambda: self.service.port,
            count=clients,
            answer_seconds=BOUND_SECONDS + MACHINE_SECONDS,
            seed=seed,
        )
        self.rules = Rules()
        self.events = 0
        self.violations: list[str] = []
        self._values: dict[tuple[int, int], frozenset[Value]] = {}

    # A fault and its judgement

    @contextmanager
    def under_fire(self, *, answer_seconds: float | None = None) -> Iterator[None]:
        """Clients work before, during and after the block; then the history, the counters and the pages are checked.

        `answer_seconds`: another bound on answers, for faults that leave nobody to answer for a while.
        """
        clients = self.clients
        clients._answer_seconds = (answer_seconds or BOUND_SECONDS) + MACHINE_SECONDS
        clients.start()
        try:
            self.wait_for_work()
            yield
            self.wait_for_work(RECOVERY_SECONDS + MACHINE_SECONDS)
        finally:
            clients.stop()
        self.judge()

    def wait_for_work(self, seconds: float = 30.0, requests: int = 60) -> None:
        """Until so many more requests have succeeded."""
        start = self.clients.tally.done
        until(lambda: self.clients.tally.done >= start + requests, seconds, "clients' requests succeed")

    def judge(self) -> None:
        """Check the history so far and forget it; compare the pool's numbers with a recount.

        Raises:
            AssertionError: what was violated.
        """
        found = self.verdict()
        self.violations += found
        assert not found, "\n".join(found)

    def verdict(self) -> list[str]:
        """As `judge`, the violations as text; nothing may be in flight."""
        clients = self.clients
        time.sleep(TIMEOUT_SECONDS)  # what was left unanswered is past its deadline then
        clients.read_all()
        violations, self._values = check(clients.history, self.rules, self._values)
        self.events += len(clients.history)
        found = [str(violation) for violation in violations]
        found += [f"wrong answer: {text}" for text in clients.tally.wrong]
        found += [f"late: {text}" for text in clients.tally.late]
        clients.history.events.clear()
        clients.tally.wrong.clear()
        clients.tally.late.clear()
        return found + self.miscounted()

    def miscounted(self) -> list[str]:
        """Where counters, indexes and blobs disagree."""
        with self.redis() as client:
            counted = recount(client)
        found = [f"recount: {text}" for text in counted.differences]
        found += [f"corrupt: page {type_}/{offset}" for type_, offset in counted.corrupt]
        found += [f"audit: {difference}" for difference in asyncio.run(self._audit()).differences]
        told = self.service.pool()
        if (numbers := counted.numbers()) != {name: told[name] for name in numbers}:
            found.append(f"counters: the service tells {told}, counted {numbers}")
        return found

    async def _audit(self) -> AuditReport:
        """As `pagepool audit` does it."""
        async with open_store(self._beside()) as store:
            return await audit(store)

    def _beside(self) -> Settings:
        """The settings of a command beside the service; it reaches Redis without the proxy."""
        if self.backend is not None:
            return Settings(_env_file=None, redis_url=self.backend.url)
        return Settings(_env_file=None, data_dir=self.service.settings["data_dir"])

    # What befalls every page

    @contextmanager
    def befalling(self, what: What, note: str) -> Iterator[None]:
        """The block loses pages."""
        began = time.monotonic()
        yield
        self.clients.history.add_everywhere(list(ADDRESSES), Event(began, time.monotonic(), what, note=note))

    @contextmanager
    def crash_of_redis(self) -> Iterator[None]:
        """The block ends Redis by force: what that costs depends on how it persists."""
        if self.persistence == "always":
            yield
            return
        what = What.ROLLBACK if self.persistence == "everysec" else What.LOSS
        with self.befalling(what, f"crash of Redis, persistence {self.persistence}"):
            yield

    # Parts

    def redis(self) -> redis.Redis:
        """A client of the service's Redis, whichever that is; the proxy is not in between."""
        if self.backend is not None:
            return self.backend.client()
        return redis.Redis(unix_socket_path=str(self.embedded_socket()), socket_timeout=10)

    def embedded_socket(self) -> Path:
        """The socket of the embedded Redis."""
        [link] = [path for path in Path(self.service.settings["data_dir"]).iterdir() if path.is_symlink()]
        return link.readlink()

    def embedded_pid(self) -> int:
        """The process id of the embedded Redis."""
        with self.redis() as client:
            return client.info("server")["process_id"]

    def wait_ready(self, seconds: float = 20.0) -> None:
        """Until the service is ready."""
        until(self.is_ready, seconds, "the service is ready")

    def is_ready(self) -> bool:
        """What /readyz says."""
        return self.service.client.get("/readyz").status_code == 200

    def worker_pids(self) -> list[int]:
        """The process ids of the service's workers (Linux)."""
        return [pid for pid in children_of(self.service.pid) if "app.serve.worker" in command_of(pid)]

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _persistence_of(backend: RedisServer) -> str:
    if backend.options.get("appendonly") != "yes":
        return "none"
    return backend.options.get("appendfsync", "everysec")


def children_of(parent: int) -> list[int]:
    """Process ids of the living children of a process (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(ppid) == parent and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def command_of(pid: int) -> str:
    """A process's command line, empty if it has ended (Linux)."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs (Linux)."""
    return bool(command_of(pid))


Fault = Callable[[World], None]
