"""The dashboard as its users have it: what it shows, and what can be done there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Request, expect

from tests.harness.redis_server import until
from tests.harness.service import Service

SECONDS = 20.0
EXPECTED = (
    # The browser logs each answer of 4xx and 5xx by itself; which are right is each test's business.
    "Failed to load resource",
    # It is the tests that read the map's pixels.
    "Canvas2D: Multiple readback operations",
)

Colour = tuple[int, int, int]


class Board:
    """The dashboard of a service, open in a page of the browser."""

    def __init__(self, page: Page, service: Service, directory: Path) -> None:
        self.page = page
        self.service = service
        self.directory = directory
        self.faults: list[str] = []
        """Whatever the console calls an error or a warning, violations of the page's policy among it."""
        self.origins: set[str] = set()
        self.requests: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._note_request)

    def _note_console(self, message: Any) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(EXPECTED):
            self.faults.append(message.text)

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        self.origins.add(f"{parts.scheme}://{parts.netloc}")
        self.requests.append(f"{parts.path}?{parts.query}")

    def open(self) -> None:
        """Go there, and wait until it is live."""
        self.page.goto(self.service.origin + "/")
        expect(self.page.locator("#link-text")).to_have_text("live")

    def by_id(self, name: str) -> Locator:
        """An element."""
        return self.page.locator(f"#{name}")

    def value(self, name: str) -> float | None:
        """The number that a `<data>` bears; None if it is not known."""
        text = self.by_id(name).get_attribute("value")
        return float(text) if text else None

    def text(self, name: str) -> str:
        """What stands in an element."""
        return (self.by_id(name).text_content() or "").strip()

    def numbers(self) -> dict[str, float | None]:
        """The numbers of the pool that the page shows, by their names in /v1/pool."""
        return {name: self.value(id_) for name, id_ in SHOWN.items()}

    def until_it_shows(self, what: str, condition: Any) -> None:
        """Wait until the page shows it."""

        def holds() -> bool:
            # Playwright's own clock must turn for the page's requests to be noted.
            self.page.wait_for_timeout(50)
            return bool(condition())

        until(holds, SECONDS, what)

    def change(self, **fields: str) -> None:
        """Fill in the form of parameters, and send it."""
        for name, text in fields.items():
            field = self.by_id(name)
            if field.evaluate("element => element.tagName") == "SELECT":
                field.select_option(text)
            else:
                field.fill(text)
        self.by_id("apply").click()

    def said(self) -> str:
        """What the form of parameters answered."""
        return self.text("parameters-said")

    @property
    def map(self) -> PageMap:
        """The page map."""
        return PageMap(self)

    def evaluate_apart(self, script: str) -> Any:
        """Run a script as the browser's tools do, past the page's own policy; its value is JSON text."""
        session = self.page.context.new_cdp_session(self.page)
        options = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = session.send("Runtime.evaluate", options)
        assert "exceptionDetails" not in answer, answer
        return json.loads(answer["result"].get("value") or "null")

    def screenshot(self, name: str) -> Path:
        """A picture of the whole page, in the test's own directory."""
        path = self.directory / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path


SHOWN = {
    "pool_mib": "pool-mib",
    "limit_mib": "limit-mib",
    "limit_used_percent": "limit-percent",
    "compression_ratio": "ratio",
    "saved_mib": "saved-mib",
    "zero_share_percent": "zero-share",
    "hit_rate": "hit-rate",
    "logical_mib": "logical-mib",
    "redis_used_memory_bytes": "redis-mib",
    "stored_pages": "stored-pages",
    "zero_pages": "zero-pages",
    "same_filled_pages": "same-pages",
    "compressed_pages": "compressed-pages",
    "incompressible_pages": "raw-pages",
}


class PageMap:
    """The page map on the dashboard, by pages."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.canvas = board.by_id("map-canvas")
        self._root = board.by_id("map")

    def _number(self, name: str) -> int:
        return int(self._root.get_attribute(f"data-{name}") or 0)

    @property
    def pages_per_cell(self) -> int:
        """How many pages a cell stands for now."""
        return self._number("size")

    @property
    def end(self) -> int:
        """The page behind the last one held, as the map has found it."""
        return self._number("end")

    def choose(self, type_: int, end: int) -> None:
        """Show a type's map, and wait until it is drawn whole."""
        self._board.page.locator(f"#types-rows button:text-is('{type_}')").click()
        expect(self._board.by_id("map-type")).to_have_text(f"type {type_}")
        self.until_ready(end)

    def until_ready(self, end: int | None = None) -> None:
        """Wait until the map has loaded what is in sight."""
        expect(self._root).to_have_attribute("data-state", "ready", timeout=20_000)
        if end is not None:
            expect(self._root).to_have_attribute("data-end", str(end), timeout=20_000)
            expect(self._root).to_have_attribute("data-state", "ready", timeout=20_000)

    def _place(self, page: int) -> tuple[float, float]:
        """The middle of a page's cell, in pixels from the canvas's corner."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        assert box is not None
        columns, gutter = self._number("columns"), self._number("gutter")
        index = (page - self._number("from")) // self.pages_per_cell
        assert 0 <= index < columns * self._number("rows"), f"page {page} is not in sight"
        width, height = (box["width"] - gutter) / columns, box["height"] / self._number("rows")
        return gutter + (index % columns + 0.5) * width, (index // columns + 0.5) * height

    def point_at(self, page: int) -> dict[str, str]:
        """Hold the pointer over a page; what the readout says of its cell."""
        x, y = self._place(page)
        self.canvas.hover(position={"x": x, "y": y})
        return self.readout()

    def click(self, page: int) -> None:
        """Click a page's cell."""
        x, y = self._place(page)
        self.canvas.click(position={"x": x, "y": y})

    def readout(self) -> dict[str, str]:
        """What the readout says."""
        names = ("pages", "address", "zero", "same", "compressed", "raw", "hole", "bytes")
        return {name: self._board.text(f"read-{name}") for name in names}

    def colour(self, page: int) -> Colour:
        """The colour of a page's cell, near a corner, where no sign is drawn."""
        x, y = self._place(page)
        script = """(canvas, [x, y]) => {
            const scale = canvas.width / canvas.clientWidth;
            return [...canvas.getContext("2d").getImageData(x * scale, y * scale, 1, 1).data];
        }"""
        red, green, blue, _ = self.canvas.evaluate(script, [x - 3, y - 3])
        return red, green, blue

    def legend(self, kind: str) -> Colour:
        """The colour that the legend gives a kind."""
        script = "element => getComputedStyle(element).backgroundColor.match(/[0-9]+/g).map(Number)"
        red, green, blue = self._board.page.locator(f"#legend .swatch.{kind}").evaluate(script)[:3]
        return red, green, blue
