"""A service, a real browser, and the dashboard open in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.dashboard.board import Board
from tests.harness.service import Service

LIMIT_BYTES = 64 << 20


def chromium() -> str | None:
    """Where a Chromium is: CHROMIUM, or on PATH; the headless shell first, which is lighter."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium from the system's packages.

    Not for the whole session: while it is open an event loop runs in this thread, and no other test could run its own.
    """
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium), and CHROMIUM is unset")
    with sync_playwright() as running:
        # A container that runs as root has no namespaces for Chromium's sandbox.
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        launched = running.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    """A service for the tests of the dashboard alone: they say what a whole pool holds."""
    with Service(max_pool_bytes=str(LIMIT_BYTES)) as running:
        yield running


@pytest.fixture
def pool(service: Service) -> Iterator[Service]:
    """The service, empty, its tunables as they were at the end."""
    before = service.parameters()
    yield service
    service.tune(**before)
    for each in service.client.get("/v1/types").json()["types"]:
        service.client.delete(f"/v1/types/{each['type']}")


@pytest.fixture
def open_board(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Board]]:
    """Opens the dashboard of a service; at the test's end it must have logged no error and asked no other host."""
    opened: list[Board] = []

    def open_(service: Service, *, waits: bool = True, **options: object) -> Board:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        opened.append(Board(context.new_page(), service, tmp_path))
        if waits:
            opened[-1].open()
        return opened[-1]

    yield open_
    for board in opened:
        board.page.context.close()
        assert not board.faults
        assert board.origins <= {board.service.origin}


@pytest.fixture
def board(open_board: Callable[..., Board], pool: Service) -> Board:
    """The dashboard of the empty pool."""
    return open_board(pool)
