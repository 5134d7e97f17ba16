"""The private redis-server of a service that was given none: start it, keep it running, end it with the service."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from app.embedded.backoff import Backoff
from app.embedded.binary import RedisServer, find_redis_server
from app.embedded.configuration import redis_options
from app.embedded.data_directory import DataDirectory
from app.embedded.socket_directory import make_socket_directory, remove_socket_directory, socket_in
from app.embedded.watched_redis import WatchedRedis
from app.embedded.watcher_orders import TERMINATE_SECONDS

if TYPE_CHECKING:
    from app.settings import Settings

STOP_MARGIN_SECONDS = 3.0
"""What the watcher gets on top of Redis's time to end, before both are killed."""

_log = logging.getLogger("pagepool.embedded")


class EmbeddedRedis:
    """A redis-server on a Unix socket, its data in `settings.home`.

    It runs from `start` to `stop`, or to the end of this process, in whatever way that comes. If Redis or its watcher
    ends before, a thread starts both again, on the same socket path. Blocking: call it from a thread in asyncio.
    """

    def __init__(self, settings: Settings, terminate_seconds: float = TERMINATE_SECONDS) -> None:
        self._settings = settings
        self._terminate_seconds = terminate_seconds
        self._stopping = threading.Event()
        self._backoff = Backoff(shortest=0.05, longest=2.0)
        self._keeper: threading.Thread | None = None
        self._redis: WatchedRedis | None = None

    def start(self, is_cancelled: Callable[[], bool] = lambda: False) -> Self:
        """Return once Redis answers; `socket_path` and `server` can be read then.

        Raises:
            EmbeddedRedisError: it cannot start, or `is_cancelled` became true; nothing is left running.
        """
        self.server: RedisServer = find_redis_server()
        self._directory = DataDirectory.acquire(self._settings.home, is_cancelled)
        try:
            self._directory.check_persistence(self._settings.persistence)
            self._socket_directory = make_socket_directory()
        except BaseException:
            self._directory.release()
            raise
        self._read_fd, self._write_fd = os.pipe()
        try:
            self._redis = self._spawn()
            self._redis.wait_until_ready(is_cancelled)
            self._directory.publish(self.socket_path)
        except BaseException:
            self.stop()
            raise
        self._keeper = threading.Thread(
            target=self._keep_running, args=(self._redis,), name="embedded-redis", daemon=True
        )
        self._keeper.start()
        return self

    @property
    def socket_path(self) -> Path:
        """Where Redis listens; the same for as long as the service runs."""
        return socket_in(self._socket_directory)

    @property
    def redis_pid(self) -> int | None:
        """The process id of redis-server; None while there is none."""
        return self._redis.redis_pid if self._redis is not None else None

    @property
    def watcher_pid(self) -> int | None:
        """The process id of the watcher above it."""
        return self._redis.watcher_pid if self._redis is not None else None

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End Redis in good order, its append-only file written out, in bounded time; give up the lock.

        To be called once, after `start`.
        """
        self._stopping.set()
        os.close(self._write_fd)  # the watcher sees the end of file, as it would if this process were killed
        bound = self._terminate_seconds + STOP_MARGIN_SECONDS
        if self._redis is not None and not self._wait_until_gone(bound):
            self._redis.kill()
            self._wait_until_gone(bound)
        os.close(self._read_fd)
        remove_socket_directory(self._socket_directory)
        self._directory.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> WatchedRedis:
        self._socket_directory.mkdir(mode=0o700, exist_ok=True)
        options = redis_options(self._settings.persistence, self._directory.path, self.socket_path)
        return WatchedRedis(
            [str(self.server.path), *options],
            self._directory,
            self.socket_path,
            self._read_fd,
            self._terminate_seconds,
        )

    def _wait_until_gone(self, seconds: float) -> bool:
        if self._keeper is not None:
            self._keeper.join(seconds)
            return not self._keeper.is_alive()
        return self._redis is None or self._redis.wait_until_gone(seconds)

    def _keep_running(self, redis: WatchedRedis) -> None:
        while True:
            redis.wait_until_gone()
            wait = self._backoff.wait_after(time.monotonic() - redis.started_at)
            while not self._stopping.wait(wait):
                _log.warning("Redis has ended; starting it again (its log: %s)", self._directory.log_path)
                try:
                    redis = self._redis = self._spawn()
                except OSError as error:
                    _log.error("Redis could not be started: %s", error.strerror)
                    wait = self._backoff.longest
                else:
                    break
            else:
                return
