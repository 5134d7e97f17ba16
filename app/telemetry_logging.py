"""Logs: one JSON object a line, to standard error. Never page bytes, never secrets.

A line has `time` (UTC, RFC 3339), `level`, `logger`, `message`, the `request_id` where there is one, what the caller
gave as `extra={"fields": {...}}`, and for a failure its `traceback`. Python's tracebacks show source lines but no
values; messages of other libraries are cut to a bound, since some quote what they sent.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from app.telemetry_log_writer import LogWriter

MAX_MESSAGE_CHARACTERS = 1000

REQUEST_ID: ContextVar[str | None] = ContextVar("pagepool_request_id", default=None)
"""The id of the request that this task works on; set by the ASGI door."""

ACCESS = logging.getLogger("pagepool.access")

FAILURES_FROM_STATUS = 500
"""Requests answered with such a status, or a higher one, are logged whatever the sample."""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[:MAX_MESSAGE_CHARACTERS] + "…"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, ASCII only, so that nothing in it can break or forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        request_id = getattr(record, "request_id", None) or REQUEST_ID.get()
        if request_id:
            line["request_id"] = request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = [_cut(part) for part in self.formatException(record.exc_info).splitlines()]
        return json.dumps(line, default=lambda value: _cut(str(value)))


class Sampling(logging.Filter):
    """Lets one of `every` lines of the access log through, and each one that tells of a failure of the service.

    A line that stands for others says for how many: `sample`, so that rates can be told from the log.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        if self._every == 1 or fields.get("status", 0) >= FAILURES_FROM_STATUS:
            return True
        self._count += 1
        if self._count < self._every:
            return False
        self._count = 0
        fields["sample"] = self._every
        return True


def configure_logging(level: str, *, access_log_sample: int = 1) -> None:
    """Send every log line of this process to standard error as JSON.

    Args:
        level: the least severe level shown: debug, info, warning, error.
        access_log_sample: write one of so many lines of the access log.
    """
    ACCESS.filters[:] = [Sampling(access_log_sample)]
    handler = LogWriter(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def log_access(
    request_id: str, method: str, path: str, status: int, seconds: float, *, token: str | None = None
) -> None:
    """Write the line of one answered request; call it only if `settings.access_log`.

    Args:
        request_id: as the answer's X-Request-ID has it.
        method: the request's method.
        path: the request's path, without its query.
        status: the answer's status; 0 if the connection ended before one was sent.
        seconds: from the request's head to the end of its answer.
        token: the name of the token that it was let in with.
    """
    fields: dict[str, Any] = {"method": method, "path": path, "status": status, "seconds": round(seconds, 6)}
    if token is not None:
        fields["token"] = token
    ACCESS.info("%s %s %d", method, path, status, extra={"request_id": request_id, "fields": fields})
