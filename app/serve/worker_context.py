"""What a worker of `pagepool serve` is given by its supervisor, in one environment variable.

The settings travel beside it as `PAGEPOOL_*` variables, so that a worker that is started again later has the very
settings of its fellows, whatever has become of `.env` meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from app.settings import Settings

VARIABLE = "_PAGEPOOL_WORKER"
_SETTINGS_PREFIX = str(Settings.model_config["env_prefix"])

EXIT_REFUSED = 3
"""Exit status of a worker that cannot work with these settings: starting it again would not help."""

READY_MARK = b"r"
REFUSAL_MARK = b"!"
"""What a worker writes into its ready pipe: the one byte, or the other and why it refuses to start."""

TELEMETRY_STATE = "telemetry"
"""Where a worker finds its application's `app.telemetry.Telemetry` in the state of its lifespan."""

REFUSAL_BYTES = 2048
"""Longer reasons are cut; one write of this length into a pipe is atomic."""


@dataclass(frozen=True)
class WorkerContext:
    """One worker's place in its service; file descriptors are inherited and open."""

    index: int
    """0 … workers - 1; a worker that is started again keeps its own."""
    workers: int
    is_restart: bool
    """Whether an earlier worker of this index had become ready: the tunables are not written again then."""
    application: str
    """`module:function`, called with the settings, that gives the ASGI application."""
    listen_fds: tuple[int, ...]
    death_fd: int
    """Read end of a pipe; end of file: the supervisor has ended."""
    ready_fd: int
    """Write end of a pipe: READY_MARK, once requests are served, or REFUSAL_MARK and a text."""
    telemetry_fd: int | None = None
    """Memory shared by all workers, `app.telemetry.shared_bytes(workers)` long."""
    redis_socket: Path | None = None
    """The embedded Redis's socket; None when `PAGEPOOL_REDIS_URL` is set."""

    @classmethod
    def from_environment(cls) -> Self | None:
        """This process's context; None under a foreign ASGI server."""
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        values["listen_fds"] = tuple(values["listen_fds"])
        values["redis_socket"] = Path(values["redis_socket"]) if values["redis_socket"] else None
        return cls(**values)

    def environment(self, settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with this context and with `settings`, for the worker to read."""
        foreign = {name: value for name, value in base.items() if not name.upper().startswith(_SETTINGS_PREFIX)}
        return foreign | settings_variables(settings) | {VARIABLE: json.dumps(asdict(self), default=str)}

    @property
    def writes_tunables(self) -> bool:
        """Whether this worker writes the tunables that the environment sets: one does, when the service starts."""
        return self.index == 0 and not self.is_restart

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """The file descriptors that the worker must be started with."""
        telemetry = () if self.telemetry_fd is None else (self.telemetry_fd,)
        return (*self.listen_fds, self.death_fd, self.ready_fd, *telemetry)


def settings_variables(settings: Settings) -> dict[str, str]:
    """The environment from which `Settings(_env_file=None)` reads these settings again, what was set explicitly too."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {
        f"{_SETTINGS_PREFIX}{name.upper()}": _as_variable(value) for name, value in given.items() if value is not None
    }


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
