"""Open files that are the operating system's own, byte for byte: those can be read and written at any place."""

from __future__ import annotations

import io
import os
from typing import BinaryIO


def plain_descriptor(file: BinaryIO) -> int | None:
    """The descriptor behind an open file; None where something else stands between the two.

    `fileno` alone does not tell: what `gzip.open` returns has one too, of a file that holds other bytes.
    """
    raw = getattr(file, "raw", file)
    return raw.fileno() if isinstance(raw, io.FileIO) else None


def seek_aside(descriptor: int, offset: int, whence: int) -> int:
    """Ask the system about a place, and leave the descriptor where it is: a buffer above it relies on that."""
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return os.lseek(descriptor, offset, whence)
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
