"""Where log lines go: a thread writes them, so that whoever reads them slowly, or not at all, holds up no request."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time

MAX_LINES = 4096
"""Lines that wait to be written at most; what comes on top is lost, and counted."""

FLUSH_SECONDS = 1.0
"""How long the end of the process waits for lines that are not written yet."""

_POLL_SECONDS = 0.01


class LogWriter(logging.Handler):
    """Formats records where they are made, and writes the lines in a thread of its own."""

    def __init__(self, fd: int) -> None:
        """`fd`: an open file descriptor, standard error's say; it stays the caller's."""
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_LINES)
        self._lost = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over; `logging` holds this handler's lock meanwhile."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a line that cannot be made ends no request
            self.handleError(record)
            return
        self._hand_over(line)

    def _hand_over(self, line: str | None) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._lost and self._lines.empty():
                self._tell_of_lost()
            self._write(line)
            self._lines.task_done()

    def _tell_of_lost(self) -> None:
        lost, self._lost = self._lost, 0
        record = logging.makeLogRecord(
            {
                "name": "pagepool",
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": f"{lost} log lines were lost",
            }
        )
        self._write(self.format(record))

    def _write(self, line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # whoever read it has gone; the service goes on
            return

    def flush(self) -> None:
        """Wait until all is written, for a short time at most."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End the thread once it has written what waits."""
        self._hand_over(None)
        super().close()
