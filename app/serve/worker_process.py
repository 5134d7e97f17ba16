"""A worker as its supervisor sees it: started, ready, ended, and started again after a while."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

from app.embedded.backoff import Backoff
from app.embedded.python_module import module_command, module_environment
from app.serve.worker_context import READY_MARK, REFUSAL_BYTES, REFUSAL_MARK, WorkerContext
from app.settings import Settings

START_ATTEMPTS = 3
"""A worker that ends this often without ever having been ready ends the service."""

KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""For glibc's malloc, unless the environment says otherwise; others do not know it.

An extent's body and blobs went back to the kernel after each request, and were asked for again with the next: 0.02 to
0.26 page faults for each page of a PUT, where it is 0.01 now.
"""


class WorkerProcess:
    """The process that has one worker index, and its successors."""

    def __init__(self, settings: Settings, context: Callable[[int, bool, int], WorkerContext], index: int) -> None:
        """`context` makes a worker's context of its index, of whether it is a restart, and of its ready pipe."""
        self.index = index
        self.was_ever_ready = False
        self.failed_starts = 0
        self.exit_status: int | None = None
        """How the last process ended; None while one runs."""
        self.refusal: str | None = None
        """Why the process refused to start, if it did."""
        self.ready_fd: int | None = None
        """Readable when the worker has become ready or has ended; None when there is nothing to wait for."""
        self._settings = settings
        self._context = context
        self._backoff = Backoff(shortest=0.1, longest=5.0)
        self._restart_at = math.inf
        self.start()

    def start(self) -> None:
        """Start a process for this index."""
        self._restart_at = math.inf
        self._started_at = time.monotonic()
        self.exit_status = None
        self.refusal = None
        self.ready_fd, ready_write = os.pipe()
        try:
            context = self._context(self.index, self.was_ever_ready, ready_write)
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                module_command("app.serve.worker"),
                stdin=subprocess.DEVNULL,
                env=context.environment(self._settings, KEEPS_MEMORY | module_environment()),
                pass_fds=context.inherited_fds,
                start_new_session=True,  # Ctrl-C in a terminal reaches the supervisor alone, which ends all in order
            )
        finally:
            os.close(ready_write)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether a process has this index now."""
        return self.exit_status is None

    def read_ready(self) -> None:
        """Take note of what the ready pipe says."""
        if self.ready_fd is not None:
            said = os.read(self.ready_fd, 1 + REFUSAL_BYTES)
            self.was_ever_ready |= said == READY_MARK
            if said.startswith(REFUSAL_MARK):
                self.refusal = said.removeprefix(REFUSAL_MARK).decode(errors="replace")
            os.close(self.ready_fd)
            self.ready_fd = None

    def reap(self) -> bool:
        """Whether the process was found ended just now; the next start is due after a while then."""
        if self.exit_status is not None or self._process.poll() is None:
            return False
        self.read_ready()
        self.exit_status = self._process.returncode
        self.failed_starts += not self.was_ever_ready
        now = time.monotonic()
        self._restart_at = now + self._backoff.wait_after(now - self._started_at)
        return True

    def seconds_until_restart(self) -> float:
        """How long until `start` is due; infinite while the process runs."""
        return max(0.0, self._restart_at - time.monotonic())

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """End it by force and reap it."""
        self.send(signal.SIGKILL)
        self._process.wait()
        self.reap()


def with_ready_fd(context: WorkerContext, index: int, is_restart: bool, ready_fd: int) -> WorkerContext:
    """One worker's context, from what all have alike."""
    return replace(context, index=index, is_restart=is_restart, ready_fd=ready_fd)
