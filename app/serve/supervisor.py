"""`pagepool serve`: one process that owns the listening socket, the embedded Redis and the workers.

    supervisor ─┬─ watcher ─── redis-server     app.embedded, where PAGEPOOL_REDIS_URL is not set
                ├─ worker 0                     app.serve.worker; each accepts from the same listening socket
                └─ worker 1 …

A worker that ends is started again; so are Redis and its watcher. When the supervisor ends, in whatever way, so does
everything below it: each child holds a pipe whose other end is the supervisor's alone.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import partial

from app.embedded import EmbeddedRedis, EmbeddedRedisError
from app.embedded.errors import StartCancelled
from app.serve.certificate import check_certificate
from app.serve.listening import Listening
from app.serve.open_files import with_room_for_connections
from app.serve.signals import Signals
from app.serve.startup_refused import StartupRefused
from app.serve.worker_context import WorkerContext
from app.serve.worker_process import START_ATTEMPTS, WorkerProcess, with_ready_fd
from app.settings import Settings
from app.telemetry import shared_bytes
from app.telemetry_logging import configure_logging

APPLICATION = "app.main:create_app"

EXIT_FAILED = 1
"""The service did not start, or was made to end before its requests were answered."""

SHUTDOWN_MARGIN_SECONDS = 2.0
"""A worker gets this on top of `shutdown_timeout` before it is killed."""

_log = logging.getLogger("pagepool.serve")


def run(settings: Settings, *, application: str = APPLICATION) -> int:
    """Serve until SIGTERM or SIGINT; the exit status of the service.

    To be called in the main thread. `application` names a function `(settings) -> ASGI application`.
    """
    configure_logging(settings.log_level, access_log_sample=settings.access_log_sample)
    try:
        refuse_exposure(settings)
        check_certificate(settings)
        settings = with_room_for_connections(settings)
        with ExitStack() as stack:
            signals = stack.enter_context(Signals())
            listening = Listening.bind(settings)
            stack.callback(listening.close)
            redis = _start_redis(settings, signals, stack)
            listening.listen()
            return _Supervisor(settings, application, signals, listening, redis).serve()
    except StartCancelled:
        return 0
    except (StartupRefused, EmbeddedRedisError) as refusal:
        print(f"pagepool: {refusal}", file=sys.stderr, flush=True)  # noqa: T201 - for the person who started it
        return EXIT_FAILED


def refuse_exposure(settings: Settings) -> None:
    """Do not let a pool without tokens listen where other machines reach it.

    Raises:
        StartupRefused: what was set, and what would have to be.
    """
    if settings.listens_beyond_loopback and settings.tokens_file is None and not settings.allow_anonymous:
        raise StartupRefused(
            f"PAGEPOOL_HOST={settings.host} lets other machines read and overwrite every page, and no tokens are set: "
            "set PAGEPOOL_TOKENS_FILE, or PAGEPOOL_ALLOW_ANONYMOUS=true if that is meant"
        )


def _start_redis(settings: Settings, signals: Signals, stack: ExitStack) -> EmbeddedRedis | None:
    if not settings.is_embedded:
        return None
    redis = EmbeddedRedis(settings).start(lambda: signals.is_stopping)
    stack.callback(redis.stop)
    return redis


class _Supervisor:
    """The workers, from their start to their end; the sockets and Redis are the caller's."""

    def __init__(
        self,
        settings: Settings,
        application: str,
        signals: Signals,
        listening: Listening,
        redis: EmbeddedRedis | None,
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._listening = listening
        self._redis = redis
        self._is_announced = False
        self._death_fd, self._death_write_fd = os.pipe()
        self._telemetry_fd = _shared_memory(shared_bytes(settings.workers))
        self._context = WorkerContext(
            index=0,
            workers=settings.workers,
            is_restart=False,
            application=application,
            listen_fds=tuple(listener.fileno() for listener in listening.sockets),
            death_fd=self._death_fd,
            ready_fd=-1,
            telemetry_fd=self._telemetry_fd,
            redis_socket=redis.socket_path if redis is not None else None,
        )
        self._workers: list[WorkerProcess] = []

    def serve(self) -> int:
        """Start the workers and keep them running; the service's exit status."""
        try:
            self._start_worker()
            self._keep_running()
            return self._end_workers()
        finally:
            for worker in self._workers:
                worker.kill()
            for fd in (self._death_fd, self._death_write_fd, self._telemetry_fd):
                os.close(fd)

    def _keep_running(self) -> None:
        """Until the service is told to end."""
        while not self._signals.is_stopping:
            self._wait(min(worker.seconds_until_restart() for worker in self._workers))
            for worker in self._workers:
                if worker.reap():
                    self._judge(worker)
                if worker.seconds_until_restart() == 0:
                    worker.start()
            if self._workers[0].was_ever_ready:
                # It has written the tunables of the environment: nobody may serve, and take a PATCH, before that.
                while len(self._workers) < self._settings.workers:
                    self._start_worker()
            if not self._is_announced and all(worker.was_ever_ready for worker in self._workers):
                self._announce()

    def _start_worker(self) -> None:
        make_context = partial(with_ready_fd, self._context)
        self._workers.append(WorkerProcess(self._settings, make_context, len(self._workers)))

    def _judge(self, worker: WorkerProcess) -> None:
        """A worker has ended, and is started again soon, unless that would not help.

        Raises:
            StartupRefused: the service cannot work.
        """
        someone_serves = any(other.was_ever_ready and other.is_running for other in self._workers)
        if worker.refusal is not None and not someone_serves:
            raise StartupRefused(worker.refusal)  # another that serves has the same settings: it is not they
        how = f"refused to start: {worker.refusal}" if worker.refusal else _describe(worker.exit_status)
        if not (self._is_announced or someone_serves) and worker.failed_starts >= START_ATTEMPTS:
            raise StartupRefused(f"a worker {how} {worker.failed_starts} times while starting: see its log above")
        _log.warning("worker %d (pid %d) %s; starting it again", worker.index, worker.pid, how)

    def _end_workers(self) -> int:
        """Stop accepting, let requests in flight end, kill what takes too long or when told a second time."""
        self._listening.close()
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.shutdown_timeout + SHUTDOWN_MARGIN_SECONDS
        while any(worker.is_running for worker in self._workers):
            remaining = deadline - time.monotonic()
            if self._signals.stop_requests > 1:
                _log.warning("told to end a second time: requests in flight are dropped")
                return EXIT_FAILED
            if remaining <= 0:
                _log.warning("workers did not end within %.0f s: killing them", self._settings.shutdown_timeout)
                return 0
            self._wait(remaining)
            for worker in self._workers:
                worker.reap()
        return 0

    def _wait(self, seconds: float) -> None:
        """Until a signal comes (a child's end is one), a worker is ready, or the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals.fd, selectors.EVENT_READ)
            for worker in self._workers:
                if worker.ready_fd is not None:
                    selector.register(worker.ready_fd, selectors.EVENT_READ, worker)
            for key, _ in selector.select(None if math.isinf(seconds) else seconds):
                if key.data is None:
                    self._signals.clear()
                else:
                    key.data.read_ready()

    def _announce(self) -> None:
        self._is_announced = True
        count = self._settings.workers
        parts = [f"Pagepool listens on {self._listening.address}", f"{count} worker{'s' if count > 1 else ''}"]
        if self._redis is not None:
            parts.append(f"embedded Redis {self._redis.server.version_text} in {self._settings.home}")
            parts.append(f"persistence {self._settings.persistence}")
        with suppress(OSError):  # whoever read standard output has gone; the service goes on
            print(", ".join(parts), flush=True)  # noqa: T201 - for the person who started it


def _shared_memory(size: int) -> int:
    """A file descriptor of `size` zero bytes that no path leads to."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pagepool-telemetry")
    else:
        with tempfile.TemporaryFile(prefix="pagepool-") as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


def _describe(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-exit_status).name}"
    return f"ended with status {exit_status}"
