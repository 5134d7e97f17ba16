"""Tunables are changed on the dashboard, and the effect is seen there."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.dashboard.board import Board
from tests.harness import pages
from tests.harness.area import Area

OWN_SERVICE = True


def test_a_change_reaches_the_service(board: Board) -> None:
    """What is changed in the form holds in the service, and the gauge shows the new limit."""
    board.change(max_pool_bytes="1.5 MiB", accept_threshold_percent="80", compressor="zstd")
    expect(board.by_id("parameters-said")).to_contain_text("In force on every worker")
    parameters = board.service.parameters()
    assert (parameters["max_pool_bytes"], parameters["accept_threshold_percent"]) == (3 << 19, 80)
    assert parameters["compressor"] == "zstd"
    expect(board.by_id("limit-mib")).to_have_text("1.50 MiB")
    expect(board.by_id("threshold-label")).to_have_text("reopens at 80 %")
    expect(board.by_id("inforce-max_pool_bytes")).to_have_text("1536 KiB")
    expect(board.by_id("apply")).to_be_disabled()


def test_only_what_was_touched_is_sent(board: Board) -> None:
    """A field that somebody else changed meanwhile is left alone."""
    board.by_id("accept_threshold_percent").fill("70")
    board.service.tune(max_pool_bytes=7 << 20)
    expect(board.by_id("inforce-max_pool_bytes")).to_have_text("7 MiB")
    expect(board.by_id("max_pool_bytes")).to_have_value("7 MiB")
    expect(board.by_id("accept_threshold_percent")).to_have_value("70")
    board.by_id("apply").click()
    expect(board.by_id("parameters-said")).to_contain_text("accept_threshold_percent 90 % → 70 %")
    assert board.service.parameters()["max_pool_bytes"] == 7 << 20


def test_disabling_stores_is_seen(board: Board) -> None:
    """The state says disabled, and stores are refused, until they are accepted again."""
    board.change(enabled="false")
    expect(board.by_id("state-word")).to_have_text("disabled")
    assert Area(board.service, 1).put(0, pages.zero()).status_code == 503
    board.change(enabled="true")
    expect(board.by_id("state-word")).to_have_text("open")


def test_a_refused_change_says_why(board: Board) -> None:
    """The problem's detail is shown, and nothing has changed."""
    before = board.service.parameters()
    board.change(accept_threshold_percent="0")
    expected = board.service.client.patch("/v1/parameters", json={"accept_threshold_percent": 0}).json()["detail"]
    expect(board.by_id("parameters-said")).to_have_text(expected)
    board.change(accept_threshold_percent="90", max_pool_bytes="much")
    expect(board.by_id("parameters-said")).to_contain_text("such as 512 MiB")
    assert board.service.parameters() == before
    board.by_id("reset").click()
    expect(board.by_id("max_pool_bytes")).to_have_value("64 MiB")
    expect(board.by_id("apply")).to_be_disabled()
