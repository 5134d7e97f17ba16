"""Light, dark and on a phone; for all who use it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.dashboard.board import Board
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.service import Service

OWN_SERVICE = True
AXE = "axe-core@4.14.1"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{AXE} comes by npm, which is not on PATH")
    home: Path = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", AXE]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot install {AXE}: {error}")
    return (home / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=LOOKS)
def filled(request: pytest.FixtureRequest, open_board: Callable[..., Board], pool: Service) -> Board:
    """The dashboard of a pool with pages of every kind, in each look, all of it unfolded."""
    Area(pool, 1).store(0, *pages.mixed(500))
    board = open_board(pool, **LOOKS[request.param])
    board.map.until_ready(500)
    for summary in board.page.locator("summary").all():
        summary.click()
    return board


def test_axe_finds_nothing_serious(filled: Board, axe: str) -> None:
    """No serious or critical violation of the accessibility rules that axe-core knows."""
    filled.evaluate_apart(f"{axe}; null")
    found = filled.evaluate_apart("axe.run().then((result) => JSON.stringify(result.violations))")
    grave = [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
    assert not grave


def test_nothing_is_wider_than_the_screen(filled: Board) -> None:
    """The page scrolls down, not sideways; wide tables scroll by themselves."""
    assert filled.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert filled.screenshot("whole").stat().st_size > 10_000


def test_numbers_do_not_shift_the_page(filled: Board) -> None:
    """Every section stays where it is while numbers grow by orders of magnitude."""
    sections = "[...document.querySelectorAll('main > section')].map((each) => each.offsetTop)"
    before = filled.page.evaluate(sections)
    Area(filled.service, 1).store(500, *pages.mixed(512, seed=2))
    Area(filled.service, 1).load(0, 500)
    expect(filled.by_id("stored-pages")).to_have_text("1,012")
    # Tables that are unfolded grow by rows: what lies below the first of them is not compared.
    assert filled.page.evaluate(sections)[:3] == before[:3]


def test_the_theme_can_be_chosen(open_board: Callable[..., Board], pool: Service) -> None:
    """Auto, light, dark in turn; the choice outlives a reload, and the map is repainted."""
    Area(pool, 1).store(0, *[pages.zero()] * 500)
    board = open_board(pool, color_scheme="light")
    board.map.until_ready(500)
    light = board.map.colour(0)
    expect(board.by_id("theme")).to_have_text("Auto")
    board.by_id("theme").click()
    board.by_id("theme").click()
    expect(board.by_id("theme")).to_have_text("Dark")
    assert board.map.colour(0) == pytest.approx(board.map.legend("zero"), abs=2)
    assert board.map.colour(0) != light
    board.page.reload()
    expect(board.by_id("theme")).to_have_text("Dark")


def test_it_can_be_walked_through_by_keyboard(filled: Board) -> None:
    """Tab reaches the skip link, every button that is enabled, the map, and every field."""
    reached = set()
    for _ in range(60):
        filled.page.keyboard.press("Tab")
        reached.add(filled.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"skip", "pause", "theme", "map-in", "map-canvas", "max_pool_bytes"} <= reached
