"""The directory that holds nothing but the socket: short, private, and gone with the service."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

SOCKET_PATH_BYTES = 100
"""A longer path does not fit a Unix socket's address (108 bytes on Linux, 104 on macOS, with the final NUL)."""

_PREFIX = "pagepool-"
_SOCKET = "redis.sock"


def make_socket_directory() -> Path:
    """A fresh directory of mode 0700, below TMPDIR, or below /tmp where TMPDIR is too long for a socket."""
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(bytes(socket_in(directory))) > SOCKET_PATH_BYTES:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    return directory


def socket_in(directory: Path) -> Path:
    """The socket's path in its directory."""
    return directory / _SOCKET


def remove_socket_directory(directory: Path) -> None:
    """Remove a directory that `make_socket_directory` made; anything else is left alone."""
    if directory.name.startswith(_PREFIX):
        shutil.rmtree(directory, ignore_errors=True)
