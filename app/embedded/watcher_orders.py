"""What the service tells a watcher."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

TERMINATE_SECONDS = 10.0
"""How long Redis may take to write its append-only file out before it is killed."""


@dataclass(frozen=True)
class WatcherOrders:
    """What the watcher is told when it is started."""

    command: list[str]
    log_path: str
    socket_directory: str
    service_fd: int
    report_fd: int
    life_fd: int
    lock_fd: int
    terminate_seconds: float

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Self:
        """The reverse of `encode`."""
        return cls(**json.loads(text))
