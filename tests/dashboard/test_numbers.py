"""The dashboard shows the pool's numbers, and they move."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.dashboard.board import SHOWN, Board
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

OWN_SERVICE = True
MOVING = "redis_used_memory_bytes"


def test_the_page_shows_what_v1_pool_says(board: Board) -> None:
    """Each number on the page equals the one in /v1/pool, from an empty pool on."""
    area = Area(board.service, 1)
    for stored in ([], pages.mixed(400), list(pages.of_each_kind().values())):
        if stored:
            area.store(0, *stored)
            area.load(0, len(stored))
        expected = {name: value for name, value in board.service.pool().items() if name in SHOWN and name != MOVING}
        board.until_it_shows(
            "what /v1/pool says",
            lambda expected=expected: (
                expected.items()
                <= {
                    k: v for k, v in board.numbers().items() if v is not None or k in ("compression_ratio", "hit_rate")
                }.items()
            ),
        )
    assert board.value("redis-mib")


def test_numbers_are_written_for_people(board: Board) -> None:
    """Thousands are separated, MiB have two places, shares are percentages."""
    Area(board.service, 1).store(0, *[pages.zero()] * 500)
    Area(board.service, 1).store(500, *[pages.incompressible(seed) for seed in range(500)])
    expect(board.by_id("stored-pages")).to_have_text("1,000")
    expect(board.by_id("zero-share")).to_have_text("50.0 %")
    expect(board.by_id("pool-mib")).to_have_text(f"{board.service.pool()['pool_mib']:.2f}")
    expect(board.by_id("limit-mib")).to_have_text("64.00 MiB")
    expect(board.by_id("ratio")).to_have_text("2.00×")


def test_activity_moves_with_stores_and_loads(board: Board) -> None:
    """Stores, loads, hit rate, and latency percentiles appear once there is work; the lines are drawn."""
    area = Area(board.service, 1)
    for _ in range(3):
        area.store(0, *pages.mixed(300))
        area.load(0, 300)
        area.get(100_000, count=100)
        board.page.wait_for_timeout(1100)
    titles = board.page.locator(".chart h3").all_text_contents()
    assert titles == ["Stores", "Loads", "Hit rate", "Rejects", "Load latency", "Store latency"]
    figures = board.page.locator(".chart .figure")
    board.until_it_shows(
        "rates", lambda: all(float(figures.nth(i).text_content().replace(",", "")) > 0 for i in (0, 1))
    )
    assert figures.nth(2).text_content() == "75.0 %"
    for latency in (4, 5):
        assert figures.nth(latency).text_content().split()[1] in {"µs", "ms", "s"}
    for line in board.page.locator(".chart:nth-child(-n+2) .line-0").all():
        assert line.get_attribute("d").count("L") >= 1
    board.page.locator("#activity-details summary").click()
    expect(board.page.locator("#activity-rows tr").first.locator("th")).to_have_text("0")


def test_refusals_are_counted_by_reason(board: Board) -> None:
    """A closed pool is shown as closed, and the pages that it refused are counted."""
    area = Area(board.service, 1)
    area.store(0, *[pages.incompressible(seed) for seed in range(20)])
    board.service.tune(max_pool_bytes=4096)
    assert area.put(100, pages.incompressible(7)).status_code == 507
    expect(board.by_id("state-word")).to_have_text("closed")
    expect(board.by_id("state-detail")).to_contain_text("zero pages only")
    assert board.page.title() == "closed · Pagepool"
    refused = board.page.locator("#refused div", has_text="Pool full")
    expect(refused.locator("data")).to_have_attribute("value", str(int(reject_count(board.service))))
    expect(board.by_id("announcer")).to_contain_text("The pool is closed")


def reject_count(service: Service) -> float:
    return service.metrics().value("pagepool_rejects_total", reason="pool_full")


def test_each_type_has_a_row(board: Board) -> None:
    """Types are listed with their numbers, a dozen at a time."""
    for type_ in range(1, 16):
        Area(board.service, type_).store(0, *[pages.zero()] * type_)
    rows = board.page.locator("#types-rows tr")
    expect(rows).to_have_count(12)
    expect(rows.nth(4).locator("th")).to_have_text("5")
    expect(rows.nth(4).locator("td").nth(0)).to_have_text("5")
    board.by_id("types-next").click()
    expect(rows).to_have_count(3)
    expect(rows.nth(2).locator("th")).to_have_text("15")
    expect(board.by_id("types-next")).to_be_disabled()
    board.by_id("types-previous").click()
    expect(rows).to_have_count(12)


def test_an_empty_pool_says_how_to_fill_it(board: Board) -> None:
    """No type, no map, but a hint."""
    expect(board.by_id("types-empty")).to_be_visible()
    expect(board.by_id("map-range")).to_have_text("no pages")


def test_it_can_be_paused(board: Board) -> None:
    """While it is paused nothing is asked for, and no number moves; then it goes on."""
    board.by_id("pause").click()
    expect(board.by_id("link-text")).to_have_text("paused")
    board.page.wait_for_timeout(300)
    asked = len(board.requests)
    Area(board.service, 1).store(0, pages.zero())
    board.page.wait_for_timeout(1500)
    assert len(board.requests) == asked
    assert board.value("stored-pages") == 0
    board.by_id("pause").click()
    expect(board.by_id("stored-pages")).to_have_text("1")


def test_redis_away_and_back(
    open_board: Callable[..., Board], start_redis: Callable[..., RedisServer], start_service: Callable[..., Service]
) -> None:
    """Without Redis the page says so and keeps the last numbers; it goes on when Redis is back."""
    redis = start_redis()
    board = open_board(start_service(redis_url=redis.url, redis_timeout="0.5"))
    redis.pause()
    expect(board.by_id("state-word")).to_have_text("Redis away")
    expect(board.by_id("link-text")).to_have_text("Redis is out of reach")
    redis.resume()
    expect(board.by_id("state-word")).to_have_text("open")
    expect(board.by_id("link-text")).to_have_text("live")


def test_the_service_away_and_back(open_board: Callable[..., Board], start_service: Callable[..., Service]) -> None:
    """A service that has ended is reported, and found again when it runs."""
    service = start_service()
    port = str(service.port)
    board = open_board(service)
    service.stop()
    expect(board.by_id("link-text")).to_have_text("no answer from the service, trying again")
    service.settings["port"] = port
    service.start()
    expect(board.by_id("link-text")).to_have_text("live")
