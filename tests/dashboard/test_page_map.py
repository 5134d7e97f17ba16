"""The page map shows what lies where, from the whole type down to a page."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.dashboard.board import Board
from tests.harness import pages
from tests.harness.area import Area

OWN_SERVICE = True
FAR = 9_999_999


@pytest.fixture
def area(board: Board) -> Area:
    """Type 3: 256 zero pages, 128 same-filled, a hole of 128, 200 raw, and at 1000 one compressed page."""
    area = Area(board.service, 3)
    area.store(0, *[pages.zero()] * 256)
    area.store(256, *[pages.same()] * 128)
    area.store(512, *[pages.incompressible(seed) for seed in range(200)])
    area.store(1000, pages.compressible())
    board.map.choose(3, end=1001)
    return area


@pytest.mark.usefixtures("area")
def test_kinds_are_where_they_are(board: Board) -> None:
    """The picture and the readout show each kind at its pages, and holes where nothing is."""
    map_ = board.map
    assert map_.pages_per_cell == 1
    for page, kind in ((0, "zero"), (255, "zero"), (256, "same"), (383, "same"), (384, "hole"), (511, "hole")):
        assert map_.colour(page) == pytest.approx(map_.legend(kind), abs=2), page
        readout = map_.point_at(page)
        assert readout["pages"] == str(page)
        assert {name for name in ("zero", "same", "compressed", "raw", "hole") if readout[name] != "0"} == {kind}
    for page in (512, 711):
        assert map_.colour(page) == pytest.approx(map_.legend("raw"), abs=2)
    stored = board.service.client.head("/v1/pages/3/1000").headers["page-stored-length"]
    readout = map_.point_at(1000)
    assert readout["bytes"] == stored
    assert readout["compressed"] == f"1 at {round(100 * int(stored) / 4096)} %"
    assert readout["address"] == hex(1000 * 4096)


def test_the_map_follows_the_pool(board: Board, area: Area) -> None:
    """What is invalidated becomes a hole in the picture within seconds."""
    area.delete(0, count=256)
    hole = board.map.legend("hole")
    board.until_it_shows("the hole", lambda: board.map.colour(100) == pytest.approx(hole, abs=2))


@pytest.mark.usefixtures("area")
def test_the_wheel_zooms_about_the_pointer(board: Board) -> None:
    """Once the map was clicked, the wheel zooms to single pages, and the page under the pointer stays in sight."""
    map_ = board.map
    map_.click(520)
    for _ in range(4):
        board.page.mouse.wheel(0, -80)
        board.page.wait_for_timeout(100)
    map_.until_ready()
    assert board.by_id("map").get_attribute("data-columns") == "16"
    assert map_.point_at(520)["raw"] == "1"
    expect(board.by_id("map-in")).to_be_disabled()
    for _ in range(4):
        board.page.mouse.wheel(0, 80)
        board.page.wait_for_timeout(100)
    expect(board.by_id("map-out")).to_be_disabled()


@pytest.mark.usefixtures("area")
def test_without_focus_the_wheel_scrolls_the_page(board: Board) -> None:
    """The map is no trap for somebody who scrolls past it."""
    board.map.point_at(520)
    columns = board.by_id("map").get_attribute("data-columns")
    board.page.mouse.wheel(0, -200)
    board.page.wait_for_timeout(300)
    assert board.by_id("map").get_attribute("data-columns") == columns


@pytest.mark.usefixtures("area")
def test_the_keyboard_does_all_of_it(board: Board) -> None:
    """Arrows move from cell to cell and are spoken, plus and minus zoom, 0 shows the whole type again."""
    said = board.by_id("map-said")
    board.map.canvas.focus()
    board.page.keyboard.press("Home")
    expect(said).to_have_text("Pages 0: zero; 0 bytes")
    board.page.keyboard.press("End")
    expect(said).to_contain_text("Pages 1,000: compressed")
    board.page.keyboard.press("ArrowLeft")
    expect(said).to_have_text("Pages 999: hole; 0 bytes")
    columns = int(board.by_id("map").get_attribute("data-columns"))
    board.page.keyboard.press("ArrowUp")
    expect(said).to_contain_text(f"Pages {999 - columns}")
    board.page.keyboard.press("+")
    expect(board.by_id("map")).to_have_attribute("data-columns", str(columns // 2))
    board.page.keyboard.press("0")
    expect(board.by_id("map")).to_have_attribute("data-columns", str(columns))


@pytest.mark.usefixtures("area")
def test_the_table_says_the_same(board: Board) -> None:
    """The picture's alternative adds up to what the type holds."""
    board.page.locator("#map-details summary").click()
    rows = board.page.locator("#map-rows tr")
    expect(rows).to_have_count(16)
    texts = [row.locator("td").all_text_contents() for row in rows.all()]
    sums = [sum(int(row[column].replace(",", "")) for row in texts) for column in range(5)]
    assert sums == [256, 128, 1, 200, 1001 - 585]


def test_a_sparse_type_of_ten_million_pages(board: Board) -> None:
    """The end is found and a page reached in few requests, none for more than 4096 cells."""
    area = Area(board.service, 9)
    for page in (0, 5_000_000, FAR):
        area.store(page, pages.incompressible(page))
    board.requests.clear()
    board.map.choose(9, end=FAR + 1)
    ground = board.map.legend("hole")
    for page in (0, 5_000_000, FAR):
        assert board.map.colour(page) != pytest.approx(ground, abs=8), "a lone page is seen in a large hole"
    board.by_id("map-page").fill("5,000,000")
    board.page.locator("#map-go button").click()
    for _ in range(16):
        if board.by_id("map-in").is_disabled():
            break
        board.by_id("map-in").click()
    board.map.until_ready()
    assert board.map.pages_per_cell == 1
    assert board.map.point_at(5_000_000)["raw"] == "1"
    assert board.map.point_at(5_000_001)["hole"] == "1"
    queries = [parse_qs(urlsplit(each).query) for each in board.requests if "/map?" in each]
    assert all(int(query["cells"][0]) <= 4096 for query in queries)
    assert len([each for each in board.requests if "/extents" in each]) < 60
    assert len(queries) < 120


def test_a_finger_taps_and_two_pinch(open_board, pool) -> None:
    """On a phone a tap reads a cell, and two fingers zoom."""
    Area(pool, 3).store(0, *[pages.zero()] * 500, pages.incompressible())
    board = open_board(pool, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    board.map.until_ready(501)
    x, y = board.map._place(500)
    board.map.canvas.tap(position={"x": x, "y": y})
    assert board.map.readout()["raw"] != "0"
    columns = int(board.by_id("map").get_attribute("data-columns"))
    box = board.map.canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    session = board.page.context.new_cdp_session(board.page)
    for kind, apart in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90), ("touchEnd", None)):
        points = (
            []
            if apart is None
            else [{"x": middle[0] + sign * apart, "y": middle[1], "id": sign + 1} for sign in (-1, 1)]
        )
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    board.until_it_shows("a closer view", lambda: int(board.by_id("map").get_attribute("data-columns")) < columns)
