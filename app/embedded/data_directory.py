"""The embedded Redis's home: who may use it, and where the Redis that does can be found.

    HOME/service.lock     flock held by the service and by its redis-server; holds the pid of the service
    HOME/redis.sock       symbolic link to the socket, in a directory of its own with a short path
    HOME/redis.log        what redis-server says; HOME/redis.log.1 is the one before
    HOME/appendonlydir/   Redis's append-only file (appendonly.aof before Redis 7)

The lock is a flock on an open file that redis-server inherits: it lasts until the last of them has ended, however they
end, and nothing has to be cleaned up for the next service.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from app.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable, StartCancelled
from app.embedded.socket_directory import remove_socket_directory

if TYPE_CHECKING:
    from app.settings import Persistence, Settings

HANDOVER_SECONDS = 15.0
"""How long to wait for the Redis of a service that was killed: the watcher gives it 10 seconds to end."""

LOG_BYTES_KEPT = 1 << 20
"""A log longer than this is set aside when the next service starts."""

_POLL_SECONDS = 0.05
_LINK = "redis.sock"
_PERSISTED = ("appendonlydir", "appendonly.aof", "dump.rdb")


class DataDirectory:
    """A data directory that this process has locked."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self.lock_fd = lock_fd
        """Open file description that bears the lock; to be inherited by redis-server."""

    @classmethod
    def acquire(cls, path: Path, is_cancelled: Callable[[], bool]) -> Self:
        """Make the directory (0700) if needed, and lock it.

        A directory whose service is dead, but whose Redis has not ended yet, is waited for.

        Raises:
            DataDirectoryInUse: a service that lives holds it.
            DataDirectoryUnusable: it cannot be made or written.
            StartCancelled: `is_cancelled` became true while waiting.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(path / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            _lock(lock_fd, path, is_cancelled)
            directory = cls(path, lock_fd)
            directory._begin()
        except OSError as error:
            os.close(lock_fd)
            raise _unusable(path, error) from error
        except BaseException:
            os.close(lock_fd)
            raise
        return directory

    def _begin(self) -> None:
        """Write who holds the lock, and clear away what a service that was killed as a whole left behind."""
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)
        link = self.path / _LINK
        if link.is_symlink():
            remove_socket_directory(link.readlink().parent)
            link.unlink()
        with contextlib.suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LOG_BYTES_KEPT:
                self.log_path.replace(self.path / "redis.log.1")

    @property
    def log_path(self) -> Path:
        """Where redis-server's output goes."""
        return self.path / "redis.log"

    def publish(self, socket_path: Path) -> None:
        """Let `find_running_socket` find the socket."""
        link = self.path / _LINK
        link.unlink(missing_ok=True)
        link.symlink_to(socket_path)

    def check_persistence(self, persistence: Persistence) -> None:
        """Refuse to run without persistence over pages that an earlier run kept.

        They would not be loaded now, and come back as stale pages when persistence is switched on again.
        """
        kept = [name for name in _PERSISTED if (self.path / name).exists()]
        if persistence == "none" and kept:
            raise DataDirectoryUnusable(
                f"{self.path} holds pages that a run with PAGEPOOL_PERSISTENCE=everysec or always kept: set it again "
                f"to have them, or remove {self.path / kept[0]} to begin empty"
            )

    def release(self) -> None:
        """Give up this process's share of the lock; it ends when Redis's share has ended, too."""
        (self.path / _LINK).unlink(missing_ok=True)
        os.close(self.lock_fd)


def find_running_socket(settings: Settings) -> Path | None:
    """The socket of the embedded Redis that runs on this data directory now; None if none does."""
    if not settings.is_embedded:
        return None
    try:
        path = (settings.home / _LINK).readlink()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except OSError:
        return None
    return path


def _lock(lock_fd: int, path: Path, is_cancelled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANDOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(lock_fd)
            if (holder is not None and _lives(holder)) or time.monotonic() > deadline:
                who = f"another service (pid {holder})" if holder is not None else "another service"
                raise DataDirectoryInUse(
                    f"{who} uses the data directory {path}: stop it, or give this one a directory of its own with "
                    "PAGEPOOL_DATA_DIR (several processes on one pool: pagepool serve with PAGEPOOL_WORKERS)"
                ) from None
        else:
            return
        if is_cancelled():
            raise StartCancelled("told to end while waiting for the data directory")
        time.sleep(_POLL_SECONDS)


def _read_holder(lock_fd: int) -> int | None:
    text = os.pread(lock_fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unusable(path: Path, error: OSError) -> DataDirectoryUnusable:
    return DataDirectoryUnusable(
        f"the data directory {path} cannot be used ({error.strerror}): set PAGEPOOL_DATA_DIR to one that this user "
        "can write"
    )
