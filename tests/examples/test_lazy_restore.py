"""The example of a lazy restore gives a process its memory, byte for byte, and no more than it asks for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pagepool_client import Client

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.metrics import LOAD_RESULTS
from tests.harness.service import ROOT, Service

NOT_PERMITTED = 77
SNAPSHOT = b"".join(
    bytes(4096) if index % 4 == 0 else pages.compressible(index) if index % 4 < 3 else pages.incompressible(index)
    for index in range(1200)
)


@pytest.fixture
def start(area: Area, tmp_path: Path) -> Callable[..., str]:
    """Runs the example on a snapshot that lacks pages 400 to 499, and answers what it printed."""
    with Client(area.service.origin) as client:
        for offset in range(0, 1200, 400):
            client.store_frames(area.type, offset, SNAPSHOT[offset * 4096 : (offset + 400) * 4096])
        client.invalidate_many(area.type, [(400, 100)])

    program = [sys.executable, ROOT / "examples" / "lazy_restore.py"]
    snapshot = ["--url", area.service.origin, "--type", str(area.type)]

    def run(*options: str) -> str:
        done = subprocess.run(
            [*program, *snapshot, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == NOT_PERMITTED:
            pytest.skip(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def pages_loaded(service: Service) -> float:
    metrics = service.metrics()
    return sum(metrics.value("pagepool_loads_total", result=result) for result in LOAD_RESULTS)


def number(pattern: str, text: str) -> float:
    return float(re.search(pattern, text).group(1))


def test_the_guest_has_its_bytes(start: Callable[..., str], tmp_path: Path) -> None:
    """Every page of the region is the snapshot's, and zeros where the snapshot lacks it; cold and after a replay."""
    expected = SNAPSHOT[: 400 * 4096] + bytes(100 * 4096) + SNAPSHOT[500 * 4096 :]
    for name in ("cold", "warm"):
        start("--copy-to", name)
        assert (tmp_path / name).read_bytes() == expected


def test_zero_pages_are_not_transferred(start: Callable[..., str], area: Area) -> None:
    """A fault of a zero page or of an absent one loads nothing."""
    before = pages_loaded(area.service)
    printed = start("--touches", "300")
    faults, zeros = (int(found) for found in re.search(r"faults +(\d+), (\d+) of", printed).groups())
    assert 0 < zeros < faults <= 300
    assert pages_loaded(area.service) - before == faults - zeros


def test_the_working_set_is_replayed_in_one_call(start: Callable[..., str]) -> None:
    """The second start of the same work takes no fault, reads the same bytes, and says what it gained."""
    cold, warm = start(), start()
    assert number(r"faults +(\d+),", cold) > 0
    assert re.search(r"recorded +\d+ pages in working-set.json", cold)
    assert number(r"faults +(\d+),", warm) == 0
    assert number(r"load calls: (\d+)", warm) == 1
    assert number(r"cold, .* with the replay: ([0-9.]+) ×", warm) > 0
    digests = [re.search(r"touched pages ([0-9a-f]{16})", printed).group(1) for printed in (cold, warm)]
    assert digests[0] == digests[1]


def test_other_work_than_recorded_still_runs(start: Callable[..., str]) -> None:
    """What the replay did not bring faults as before."""
    start("--touches", "50")
    assert number(r"faults +(\d+),", start("--touches", "400", "--seed", "2")) > 0
