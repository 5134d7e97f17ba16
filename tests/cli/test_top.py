from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.samples import Sample, Window
from app.cli.top_view import View
from tests.cli.conftest import ROOT
from tests.client.fake_service import FakeService


def sample(at: float, stores: float, **pool: object) -> Sample:
    numbers = {
        "state": "open",
        "stored_pages": 1000,
        "zero_pages": 250,
        "same_filled_pages": 0,
        "compressed_pages": 500,
        "incompressible_pages": 250,
        "logical_bytes": 4_096_000,
        "pool_bytes": 2_048_000,
        "saved_mib": 1.95,
        "compression_ratio": 2.0,
        "limit_bytes": 4 << 20,
        "limit_used_percent": 48.8,
    } | pool
    type_ = {
        "type": 7,
        "stored_pages": 1000,
        "zero_pages": 250,
        "same_filled_pages": 0,
        "compressed_pages": 500,
        "incompressible_pages": 250,
        "pool_bytes": 2_048_000,
        "compression_ratio": 2.0,
        "configuration": {"image_bytes": None},
    }
    series = {
        "pagepool_stores_total": {(("kind", "raw"),): stores},
        "pagepool_rejects_total": {(("reason", "pool_full"),): stores / 10},
    }
    return Sample(at, numbers, [dict(type_, type=number) for number in range(50)], series)


def drawn(view: View, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, color_system=None, force_terminal=True, legacy_windows=False)
    with console.capture() as capture:
        console.print(view, end="")
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(40, 20), (80, 24), (120, 50), (200, 60)])
def test_the_picture_fits(width: int, height: int) -> None:
    """Whatever the terminal's size, no line is wider and there are no more lines than it has."""
    view = View("http://x", Window(sample(0, 0), sample(0, 0)))
    view.advance(sample(2, 400))
    lines = drawn(view, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "1,000 pages" in text
    assert "200/s" in text
    assert "rejects pool_full" in text


def test_a_closed_pool_is_told() -> None:
    """A pool that refuses stores says so in the first line, as does a service that stopped answering."""
    view = View("http://x", Window(sample(0, 0), sample(0, 0)))
    view.advance(sample(1, 0, state="closed"))
    assert "CLOSED" in drawn(view, 100, 30)[0]
    view.trouble = "no answer"
    assert "no answer" in drawn(view, 100, 30)[0]


def test_q_ends_it(fake: FakeService, tmp_path: Path) -> None:
    """In a terminal it takes the whole screen, a key ends it, and the terminal is as it was."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    before = termios.tcgetattr(slave)
    environment = os.environ | {
        "PAGEPOOL_URL": fake.url,
        "TERM": "xterm-256color",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "top"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=tmp_path,
        env=environment,
    )
    try:
        seen = b""
        while b"q quits" not in seen:
            seen += os.read(master, 1 << 16)
        os.write(master, b"q")
        assert process.wait(30) == 0
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
