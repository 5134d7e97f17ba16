"""The real service as a process, with an environment built from nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.harness.metrics import Metrics
from tests.harness.raw_http import RawConnection
from tests.harness.redis_server import end_with_the_tests, free_port, until

START_SECONDS = 30.0
STOP_SECONDS = 20.0
REQUEST_SECONDS = 20.0
ROOT = Path(__file__).resolve().parents[2]
PAGEPOOL = Path(sys.executable).parent / "pagepool"
LIVE: list[Service] = []
"""Services that run now; what a failure report takes its logs from."""


class DidNotStart(Exception):
    """The service ended before it was ready; its log is the message."""


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The whole environment of a process under test: PATH, a home of its own, and `settings` as PAGEPOOL_*."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    own = {"HOME": str(home), "LANG": "C.UTF-8", "PYTHONFAULTHANDLER": "1"}
    return {**kept, **own, **{f"PAGEPOOL_{name.upper()}": value for name, value in settings.items()}}


def pagepool(*arguments: str, home: Path, timeout: float = 60, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a `pagepool` command to its end."""
    return subprocess.run(
        [PAGEPOOL, *arguments],
        cwd=home,
        env=environment(home, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Service:
    """One `pagepool serve`, its address, its log, and a client of it.

    Settings are given by their names without PAGEPOOL_, in lower case. The data directory is the test's own unless
    given. `close` fails when the service, or any process of its group, does not end.
    """

    def __init__(self, command: list[str] | None = None, **settings: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pp-")
        self.directory = Path(self._directory.name)
        self.command = command or [str(PAGEPOOL), "serve"]
        self.settings = {"data_dir": str(self.directory / "data"), **settings}
        self.log = self.directory / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.client = httpx.Client()
        try:
            self.start()
        except BaseException:
            self.client.close()
            self._directory.cleanup()
            raise

    def start(self) -> None:
        """Start it, or start it again after `stop` or `kill`, and wait until it is ready."""
        for attempt in range(5):
            if "uds" not in self.settings:
                self.port = int(self.settings.get("port", 0)) or free_port()
                self.settings_in_use = {**self.settings, "port": str(self.port)}
            else:
                self.settings_in_use = self.settings
            command = [part.replace("{port}", str(self.port)) for part in self.command]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    cwd=self.directory,
                    env=environment(self.directory, **self.settings_in_use),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=end_with_the_tests(),  # noqa: PLW1509 - one call into libc
                )
            LIVE.append(self)
            self.client.close()
            self.client = self.new_client()
            try:
                self._wait_until_ready()
            except DidNotStart:
                self._end_group()
                if attempt < 4 and "address already in use" in self.log_text().lower():
                    continue
                raise
            except BaseException:
                self._end_group()
                raise
            return

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise DidNotStart(self.log_text()[-2000:])
            try:
                # Knocks first: a connection that fails on a Unix socket is one that httpcore leaves open.
                self.raw().close()
                return self.client.get("/readyz").status_code == 200
            except (OSError, httpx.TransportError):
                return False

        try:
            until(is_ready, START_SECONDS, "the service is ready")
        except TimeoutError as error:
            raise DidNotStart(f"{error}\n{self.log_text()}") from None

    def new_client(self, **options: Any) -> httpx.Client:
        """A client with connections of its own; the caller closes it."""
        uds = self.settings.get("uds")
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        transport = httpx.HTTPTransport(uds=uds, limits=limits)
        base = "http://localhost" if uds else f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=base, transport=transport, timeout=REQUEST_SECONDS, trust_env=False, **options)

    def raw(self, timeout: float = 10.0) -> RawConnection:
        """A connection for bytes of any shape; the caller closes it."""
        uds = self.settings.get("uds")
        return RawConnection(Path(uds) if uds else ("127.0.0.1", self.port), timeout)

    @property
    def origin(self) -> str:
        """Its own origin, as a browser would send it."""
        return str(self.client.base_url).rstrip("/")

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.process is not None
        return self.process.pid

    def log_text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def pool(self) -> dict[str, Any]:
        """GET /v1/pool."""
        response = self.client.get("/v1/pool")
        assert response.status_code == 200, response.text
        return response.json()

    def metrics(self) -> Metrics:
        """GET /metrics, parsed."""
        response = self.client.get("/metrics")
        assert response.status_code == 200, response.text
        return Metrics.parse(response.text)

    def parameters(self) -> dict[str, Any]:
        """GET /v1/parameters."""
        response = self.client.get("/v1/parameters")
        assert response.status_code == 200, response.text
        return response.json()

    def tune(self, **tunables: Any) -> dict[str, Any]:
        """PATCH /v1/parameters."""
        response = self.client.patch("/v1/parameters", json=tunables)
        assert response.status_code == 200, response.text
        return response.json()

    def audit(self) -> subprocess.CompletedProcess[str]:
        """Run `pagepool audit` with the service's own settings."""
        return pagepool("audit", home=self.directory, **self.settings_in_use)

    def group_is_gone(self) -> bool:
        """Whether no process is left of those that it started."""
        return not self.group_members()

    def group_members(self) -> list[int]:
        """Process ids of all that it started and that run, itself first (Linux).

        Known by their working directory, which is this test's own: workers and the watcher lead process groups of
        their own, and have another parent once the one that started them has been killed.
        """
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):  # it has ended meanwhile, or is another user's
                if link.readlink().is_relative_to(self.directory):
                    found.append(int(link.parent.name))
        return sorted(found, key=lambda pid: (pid != self.pid, pid))

    def resident_bytes(self) -> int:
        """Memory that its processes hold, those of Redis left out (Linux)."""
        total = 0
        for pid in self.group_members():
            directory = Path("/proc") / str(pid)
            if "redis-server" not in (directory / "comm").read_text():
                total += int((directory / "statm").read_text().split()[1]) * resource.getpagesize()
        return total

    def signal(self, number: signal.Signals) -> None:
        """Send its first process a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL its first process; the others have to notice by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """SIGTERM it; raises AssertionError when it, or a process that it started, outlives the bound."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None and self.group_is_gone():
                self._forget()
                return
            time.sleep(0.02)
        self._end_group()
        raise AssertionError(f"The service did not end within {STOP_SECONDS} s of SIGTERM:\n{self.log_text()[-4000:]}")

    def _end_group(self) -> None:
        assert self.process is not None
        for pid in self.group_members():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self._forget()

    def _forget(self) -> None:
        if self in LIVE:
            LIVE.remove(self)

    def close(self) -> None:
        """Stop it and drop its directory."""
        self.client.close()
        try:
            if self in LIVE:
                self.stop()
        finally:
            self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
