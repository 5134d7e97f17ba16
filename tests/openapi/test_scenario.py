"""Every generated SDK does the same things against a live service, and no byte is lost on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import frames, pages
from tests.harness.service import Service
from tests.openapi.conftest import TOKEN, Program

HERE = Path(__file__).parent
SCENARIOS = {"python": "scenario.py", "typescript": "scenario.ts", "java": "Scenario.java"}
STEPS = [
    *("authentication", "page", "extent", "frames", "head", "not modified", "precondition failed", "missing"),
    *("full", "delete", "take", "types", "image", "parameters", "end"),
]
COUNT = 512


def mixed_pages() -> list[bytes]:
    """Pages of every kind, in turn."""
    kinds = (pages.zero, pages.same, pages.every_byte_value)
    return [
        kinds[index % 5]() if index % 5 < 3 else (pages.compressible, pages.incompressible)[index % 5 - 3](index)
        for index in range(COUNT)
    ]


@pytest.mark.timeout(300)  # the first run installs the generators
@pytest.mark.parametrize("language", SCENARIOS)
def test_the_sdk_does_the_scenario(
    language: str, prepare: Callable[[str, Path], Program], guarded: Service, tmp_path: Path
) -> None:
    """Pages of all byte values, extents, frames, HEAD, 304, typed 401, 404, 412 and 507, DELETE, types, tunables."""
    program = prepare(language, HERE / SCENARIOS[language])
    extent = mixed_pages()
    (tmp_path / "pages.bin").write_bytes(b"".join(extent))
    (tmp_path / "one.bin").write_bytes(pages.every_byte_value())
    (tmp_path / "noise.bin").write_bytes(pages.incompressible(1))
    body = frames.zero(1000) + frames.same(1001, 1, extent[1][:8]) + frames.data(1002, *extent[2:5])
    (tmp_path / "frames.bin").write_bytes(body + frames.lz4_frame(1007, extent[7]) + frames.data(1005, *extent[5:7]))

    printed = program(guarded.origin, TOKEN, str(tmp_path))

    assert re.findall(r"^ok (.*)$", printed, re.MULTILINE) == STEPS
    answer = frames.by_offset(frames.read((tmp_path / "frames-answer.bin").read_bytes()))
    assert answer == {1000 + index: page for index, page in enumerate(extent[:8])}
