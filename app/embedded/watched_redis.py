"""One watcher and the redis-server below it, as the service sees them: from their start to the end of both."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from app.embedded.data_directory import DataDirectory
from app.embedded.errors import RedisDidNotStart, StartCancelled
from app.embedded.python_module import module_command, module_environment
from app.embedded.watcher_orders import WatcherOrders

ANSWER_SECONDS = 15.0
"""How long redis-server may take until it answers anything at all."""

LOADING_SECONDS = 900.0
"""How long it may take to load its append-only file; gigabytes take minutes."""

_POLL_SECONDS = 0.02
_LOG_LINES = 12
_LOG_BYTES = 8192


class WatchedRedis:
    """Both processes; `wait_until_gone` MUST be called once, in the end, to reap them."""

    def __init__(
        self,
        command: list[str],
        directory: DataDirectory,
        socket_path: Path,
        service_fd: int,
        terminate_seconds: float,
    ) -> None:
        self.started_at = time.monotonic()
        self.redis_pid: int | None = None
        self._socket_path = socket_path
        self._log_path = directory.log_path
        self._log_start = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._report_fd, report_write = os.pipe()
        self._life_fd, life_write = os.pipe()
        orders = WatcherOrders(
            command=command,
            log_path=str(self._log_path),
            socket_directory=str(socket_path.parent),
            service_fd=service_fd,
            report_fd=report_write,
            life_fd=life_write,
            lock_fd=directory.lock_fd,
            terminate_seconds=terminate_seconds,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._report_fd, selectors.EVENT_READ)
        self._selector.register(self._life_fd, selectors.EVENT_READ)
        try:
            self._watcher = subprocess.Popen(  # noqa: S603 - our own module
                module_command("app.embedded.watcher"),
                stdin=subprocess.PIPE,
                env=module_environment(),
                pass_fds=(service_fd, report_write, life_write, directory.lock_fd),
                start_new_session=True,  # Ctrl-C in a terminal is the service's to handle
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(report_write)
            os.close(life_write)
        with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", self._watcher.stdin) as stdin:
            stdin.write(orders.encode().encode())

    @property
    def watcher_pid(self) -> int:
        """The watcher's process id."""
        return self._watcher.pid

    def wait_until_ready(self, is_cancelled: Callable[[], bool]) -> None:
        """Return once Redis answers PING, its append-only file loaded.

        Raises:
            RedisDidNotStart: it ended, or took longer than the bounds above; with the tail of its log.
            StartCancelled: `is_cancelled` became true.
        """
        bound, reason = ANSWER_SECONDS, "did not answer"
        while True:
            if self._wait(_POLL_SECONDS):
                raise RedisDidNotStart(f"redis-server ended while starting{self._log_tail()}")
            answer = _ping(self._socket_path)
            if answer.startswith(b"+PONG") and self.redis_pid is not None:
                return
            if answer.startswith(b"-LOADING"):
                bound, reason = LOADING_SECONDS, "was still loading"
            if time.monotonic() - self.started_at > bound:
                raise RedisDidNotStart(f"redis-server {reason} after {bound:.0f} seconds{self._log_tail()}")
            if is_cancelled():
                raise StartCancelled("told to end while Redis was starting")

    def wait_until_gone(self, timeout: float | None = None) -> bool:
        """Whether the watcher and every process of Redis's have ended within `timeout` seconds; reaps the watcher."""
        if not self._wait(timeout):
            return False
        self._watcher.wait()
        self._close()
        return True

    def kill(self) -> None:
        """End both by force."""
        self._watcher.kill()
        self._kill_redis()

    def _wait(self, timeout: float | None) -> bool:
        """Read both pipes until the life pipe closes or `timeout` passes; true when it has closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = {key.fd for key, _ in self._selector.select(remaining)}
            if self._life_fd in ready:
                return True
            if self._report_fd in ready:
                self._read_report()
            elif deadline is not None and time.monotonic() >= deadline:
                return False

    def _read_report(self) -> None:
        line = os.read(self._report_fd, 64)
        if line:
            self.redis_pid = int(line)
            return
        # The watcher has ended. Where the kernel does not end its Redis (macOS), and for a child of Redis's that
        # rewrites the append-only file, this does.
        self._selector.unregister(self._report_fd)
        self._kill_redis()

    def _kill_redis(self) -> None:
        # The life pipe is open, so the group still has a member and its number cannot have been given to another.
        if self.redis_pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.redis_pid, signal.SIGKILL)

    def _log_tail(self) -> str:
        try:
            with self._log_path.open("rb") as log:
                log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _LOG_BYTES))
                lines = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            lines = []
        return "; its log says:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""

    def _close(self) -> None:
        self._selector.close()
        os.close(self._report_fd)
        os.close(self._life_fd)


def _ping(socket_path: Path) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
    except OSError:
        return b""
