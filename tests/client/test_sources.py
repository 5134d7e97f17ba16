"""Where imported pages come from: from a file's position on, whatever lies between the file and its bytes."""

from __future__ import annotations

import gzip
import os
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from pagepool_client.errors import NotWholePages
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


@pytest.mark.parametrize("left", [0, 5 * PAGE, 12 * PAGE - 100])
def test_a_file_that_is_cut_meanwhile(tmp_path: Path, left: int) -> None:
    """Nothing is made up for what is gone: neither zeros for a hole, nor the end of a page."""
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(12 * PAGE))
    with path.open("rb") as file:
        reading = pieces(file, PAGE, 3, 4, pad=True)
        assert next(reading).count == 3
        os.truncate(path, left)
        with pytest.raises(NotWholePages, match="cut"):
            list(reading)


def test_a_page_that_is_not_whole_by_now(tmp_path: Path) -> None:
    """Bytes that came between counting and reading are not made up to a page."""
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(4 * PAGE) + b"more")
    with path.open("rb") as file, pytest.raises(NotWholePages, match="4 bytes are left over"):
        _pieces(file)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A file open for both is read as it stands, though its buffer has yet to be written."""
    path = tmp_path / "pages"
    path.write_bytes(b"A" * PAGE)
    with path.open("r+b") as file:
        file.read(4)
        file.seek(0)
        file.write(b"NEW!")
        file.seek(0)
        assert _read(file) == b"NEW!" + b"A" * (PAGE - 4)


def test_a_pipe_that_does_not_block() -> None:
    """Nothing yet is not the end."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)

    def write_slowly() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            for start in range(0, len(PAGES), 50_000):
                time.sleep(0.01)
                pipe.write(PAGES[start : start + 50_000])
                pipe.flush()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    with os.fdopen(read_end, "rb") as file:
        assert _read(file) == PAGES
    writer.join()


def test_what_only_looks_like_a_file() -> None:
    """Much of /proc is regular, and has no end to seek."""
    with Path("/proc/cpuinfo").open("rb") as file:
        assert _read_padded(file).startswith(b"processor")


def _read_padded(file: BinaryIO) -> bytes:
    return b"".join(piece.data or b"" for piece in pieces(file, PAGE, 3, 4, pad=True))
