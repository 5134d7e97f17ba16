"""Where exported pages go: the bytes at their places, and how they are handed to the system."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pagepool_client import sinks
from pagepool_client.sinks import open_sink

MOST = 256 << 10


def test_every_length_arrives_in_small_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the buffers' lengths, the bytes are those that were given, and no call takes more than 256 KiB."""
    calls: list[int] = []
    pwritev = os.pwritev

    def write_and_note(descriptor: int, buffers: Any, position: int) -> int:
        calls.append(sum(map(len, buffers)))
        return pwritev(descriptor, buffers, position)

    monkeypatch.setattr(sinks.os, "pwritev", write_and_note)
    random = Random(1)
    expected = bytearray()
    with open_sink(tmp_path / "pages") as sink:
        for lengths in ([4096] * 512, [2 << 20], [MOST], [MOST + 1], [1, MOST, 1], [100_000] * 7, [8] * 2000, [4096]):
            buffers = [random.randbytes(length) for length in lengths]
            sink.write(len(expected), buffers)
            expected += b"".join(buffers)
        sink.finish(len(expected) + 5)
    assert (tmp_path / "pages").read_bytes() == expected + bytes(5)
    assert max(calls) == MOST
    assert sum(calls) == len(expected)


def test_what_a_call_leaves_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it is offered."""
    pwritev = os.pwritev
    monkeypatch.setattr(sinks.os, "pwritev", lambda fd, buffers, at: pwritev(fd, [b"".join(buffers)[:1000]], at))
    data = [bytes([number]) * 4096 for number in range(1, 100)]
    with open_sink(tmp_path / "pages") as sink:
        sink.write(4096, data)
        sink.finish(101 * 4096)
    assert (tmp_path / "pages").read_bytes() == bytes(4096) + b"".join(data) + bytes(4096)


def _export(file: Any) -> None:
    with open_sink(file) as sink:
        sink.write(4096, [b"y" * 4096])
        sink.finish(3 * 4096)


EXPORTED = bytes(4096) + b"y" * 4096 + bytes(4096)


def test_an_open_file_takes_it_at_its_position(tmp_path: Path) -> None:
    """What stands before and after stays; the next writer goes on where this one ended."""
    path = tmp_path / "pages"
    path.write_bytes(b"x" * 20_000)
    with path.open("r+b") as file:
        file.write(b"head")
        _export(file)
        file.write(b"tail")
    assert path.read_bytes() == b"head" + EXPORTED + b"tail" + b"x" * (20_000 - 8 - len(EXPORTED))


def test_an_open_file_is_sparse_after_its_end(tmp_path: Path) -> None:
    """Where nothing follows, what is skipped is a hole, after a head as well as in an empty file."""
    path = tmp_path / "pages"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        with open_sink(file) as sink:
            sink.write(64 << 20, [b"y" * 4096])
            sink.finish(128 << 20)
        file.write(b"tail")
    assert path.stat().st_blocks * 512 < 1 << 20
    content = path.read_bytes()
    assert content.startswith(b"x" * 4096 + bytes(4096))
    assert content[(64 << 20) + 4096 :].startswith(b"y" * 4096 + bytes(4096))
    assert content[4096 + (128 << 20) :] == b"tail"


def test_a_file_open_for_appending(tmp_path: Path) -> None:
    """The system writes at its end whatever place it is told, so nothing may be skipped."""
    path = tmp_path / "pages"
    path.write_bytes(b"head")
    with path.open("ab") as file:
        _export(file)
        _export(file)
    assert path.read_bytes() == b"head" + EXPORTED * 2


def test_a_file_that_compresses(tmp_path: Path) -> None:
    """A file object that has a descriptor, but puts other bytes there, is written through."""
    with gzip.open(tmp_path / "pages.gz", "wb") as file:
        _export(file)
    with gzip.open(tmp_path / "pages.gz") as file:
        assert file.read() == EXPORTED


def test_an_object_that_says_nothing_of_what_it_takes() -> None:
    """A `write` without a result has taken all, as shutil has it."""

    class Silent:
        taken = b""

        def write(self, data: bytes) -> None:
            self.taken += bytes(data)

        def flush(self) -> None: ...

    silent = Silent()
    _export(silent)
    assert silent.taken == EXPORTED


def test_owner_and_rights_of_what_is_replaced(tmp_path: Path) -> None:
    """They stay, but nothing runs as somebody else; two exports to one place do not meet."""
    path = tmp_path / "pages"
    path.write_bytes(b"x")
    path.chmod(0o4640)
    before = path.stat()
    with open_sink(path) as first, open_sink(path) as second:
        for sink in (first, second):
            sink.write(0, [b"y" * 4096])
            sink.finish(4096)
    after = path.stat()
    assert (after.st_mode & 0o7777, after.st_uid, after.st_gid) == (0o640, before.st_uid, before.st_gid)
    assert [each.name for each in tmp_path.iterdir()] == ["pages"]


def test_the_longest_name(tmp_path: Path) -> None:
    """What is written beside a file has a name of its own length."""
    path = tmp_path / ("a" * 255)
    with open_sink(path) as sink:
        sink.finish(4096)
    assert path.read_bytes() == bytes(4096)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_name_of_an_open_file(tmp_path: Path, name: str) -> None:
    """What such a name leads to is gone on with, never replaced."""
    path = tmp_path / "pages"
    with path.open("wb", buffering=0) as file:
        file.write(b"before")
        with open_sink(name.format(file.fileno())) as sink:
            sink.write(0, [b"data"])
            sink.finish(6)
        file.write(b"after")
    assert path.read_bytes() == b"beforedata\0\0after"


def test_a_link_to_itself(tmp_path: Path) -> None:
    """It leads nowhere, and is replaced like any link that is broken."""
    path = tmp_path / "loop"
    path.symlink_to(path)
    with open_sink(path) as sink:
        sink.finish(3)
    assert path.read_bytes() == bytes(3)
