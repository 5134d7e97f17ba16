"""The supervisor's signals, as events that its loop can wait for."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Self

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Within `with`: SIGTERM and SIGINT are counted, SIGCHLD wakes, SIGHUP is ignored. Main thread only.

    SIGHUP is what a closed terminal sends: the service goes on.
    """

    def __init__(self) -> None:
        self.stop_requests = 0
        """How many times the service was told to end; the second means at once."""

    def __enter__(self) -> Self:
        self.fd, self._write_fd = os.pipe()
        """Readable when a signal has come."""
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._count) for number in (*_STOPPING, signal.SIGCHLD)}
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.fd)
        os.close(self._write_fd)

    @property
    def is_stopping(self) -> bool:
        """Whether the service was told to end."""
        return self.stop_requests > 0

    def clear(self) -> None:
        """Make `fd` wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def _count(self, number: int, _frame: FrameType | None) -> None:
        self.stop_requests += number in _STOPPING
