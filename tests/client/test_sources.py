"""Where imported pages come from: from a file's position on, whatever lies between the file and its bytes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import BinaryIO

from pagepool_client.sources import count_pages, pieces

PAGE = 4096
PAGES = os.urandom(5 * PAGE) + bytes(20 * PAGE) + os.urandom(3 * PAGE)


def _read(file: BinaryIO) -> bytes:
    return b"".join(bytes(piece.count * PAGE) if piece.data is None else piece.data for piece in _pieces(file))


def _pieces(file: BinaryIO) -> list:  # type: ignore[type-arg]
    return list(pieces(file, PAGE, 3, 4, pad=False))


def test_from_its_position_to_its_end(tmp_path: Path) -> None:
    """What was read before is not read again, though the file's buffer holds more than that; then nothing is left."""
    path = tmp_path / "pages"
    path.write_bytes(b"head" + PAGES)
    with path.open("rb") as file:
        assert file.read(4) == b"head"
        assert count_pages(file, PAGE, pad=False) == len(PAGES) // PAGE
        assert _read(file) == PAGES
        assert file.read() == b""


def test_holes_after_its_position(tmp_path: Path) -> None:
    """Holes are found where they are, counted from the position."""
    path = tmp_path / "pages"
    with path.open("wb") as file:
        file.write(b"x" * PAGE * 2)
        file.seek(1000 * PAGE, os.SEEK_CUR)
        file.write(b"y" * PAGE)
    with path.open("rb") as file:
        file.seek(PAGE)
        found = _pieces(file)
    assert [(piece.first, piece.count, piece.data is None) for piece in found[:2]] == [(0, 3, False), (3, 996, True)]
    assert sum(piece.count for piece in found) == 1002


def test_a_file_that_decompresses(tmp_path: Path) -> None:
    """A file object that has a descriptor, but takes other bytes from there, is read through."""
    path = tmp_path / "pages.gz"
    path.write_bytes(gzip.compress(PAGES))
    with gzip.open(path) as file:
        assert _read(file) == PAGES


def test_past_its_end(tmp_path: Path) -> None:
    """A position past the end is the end."""
    path = tmp_path / "pages"
    path.write_bytes(PAGES)
    with path.open("rb") as file:
        file.seek(1 << 40)
        assert count_pages(file, PAGE, pad=False) == 0
        assert _pieces(file) == []
