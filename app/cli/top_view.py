"""What `pagepool top` shows, laid out for the terminal that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from app.cli.looking import types_table
from app.cli.page_map import COLOURS
from app.cli.samples import Sample, Window, sparkline
from app.cli.wording import ratio, readable_bytes, seconds

_KINDS = {
    "zero": ("zero_pages", "zero"),
    "same": ("same_filled_pages", "same"),
    "compressed": ("compressed_pages", "well compressed"),
    "raw": ("incompressible_pages", "raw"),
}
_NARROW = 70
_NEARLY_FULL_PERCENT = 90


@dataclass(slots=True)
class View:
    """The latest window and the rates before it; rendering it is the whole screen."""

    url: str
    window: Window
    stores: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    trouble: str | None = None

    def advance(self, sample: Sample) -> None:
        """Take a new sample in."""
        self.window = Window(self.window.now, sample)
        self.trouble = None
        self.stores = [*self.stores, self.window.rate("pagepool_stores_total")][-240:]
        self.loads = [*self.loads, self.window.rate("pagepool_loads_total")][-240:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        parts: list[RenderableType] = [
            self._title(width),
            Text(),
            *self._pool(width),
            Text(),
            self._rates(width),
            Text(),
        ]
        latencies = self._latencies(width)
        if latencies is not None:
            parts += [latencies, Text()]
        used = sum(len(console.render_lines(part, options.update(height=None))) for part in parts)
        types = self.window.now.types
        room = height - used - 2
        if types and room > 0:
            parts.append(types_table(types[:room]) if width >= _NARROW else _short_types(types[:room]))
            if len(types) > room:
                parts.append(Text(f"… and {len(types) - room} more types", style="dim"))
        yield Group(*parts)

    def _title(self, width: int) -> Text:
        pool = self.window.now.pool
        title = Text("pagepool ", style="bold")
        title.append(self.url, "dim")
        title.append(
            "  open" if pool["state"] == "open" else "  CLOSED", "green" if pool["state"] == "open" else "red bold"
        )
        if self.trouble is not None:
            title.append(f"  {self.trouble}", "red")
        title.append("  q quits", "dim")
        title.truncate(width, overflow="ellipsis")
        return title

    def _pool(self, width: int) -> list[Text]:
        pool = self.window.now.pool
        stored = pool["stored_pages"]
        line = Text(
            f"{stored:,} pages  {readable_bytes(pool['logical_bytes'])} in {readable_bytes(pool['pool_bytes'])}"
        )
        line.append(f"  ratio {ratio(pool['compression_ratio'])}  {pool['saved_mib']:,.1f} MiB saved")
        lines = [line]
        if pool["limit_bytes"]:
            used = pool["limit_used_percent"]
            lines.append(
                _bar(
                    width,
                    [(min(used, 100.0), "red" if used >= _NEARLY_FULL_PERCENT else "green")],
                    f" {used:.1f} % of {readable_bytes(pool['limit_bytes'])}",
                )
            )
        if stored:
            shares = [
                (100 * pool[name] / stored, f"rgb({r},{g},{b})")
                for name, colour in _KINDS.values()
                for r, g, b in (COLOURS[colour],)
            ]
            lines.append(_bar(width, shares, " of the pages"))
            legend = Text()
            for kind, (name, colour) in _KINDS.items():
                r, g, b = COLOURS[colour]
                legend.append("■ ", f"rgb({r},{g},{b})").append(f"{kind} {pool[name]:,}  ")
            lines.append(legend)
        return lines

    def _rates(self, width: int) -> Table:
        table = Table.grid(padding=(0, 2))
        graph = max(0, width - 50)
        hits = self.window.hit_rate()
        table.add_row("stores", f"{self.stores[-1] if self.stores else 0:,.0f}/s", "", sparkline(self.stores, graph))
        hit = "" if hits is None else f"{100 * hits:.1f} % hits"
        table.add_row("loads", f"{self.loads[-1] if self.loads else 0:,.0f}/s", hit, sparkline(self.loads, graph))
        table.add_row("invalidates", f"{self.window.rate('pagepool_invalidates_total'):,.0f}/s")
        for reason, rate in self.window.rates("pagepool_rejects_total", "reason").items():
            if rate:
                table.add_row(Text(f"rejects {reason}", "red"), Text(f"{rate:,.0f}/s", "red"))
        if failures := self.window.rate("pagepool_decode_failures_total"):
            table.add_row(Text("decode failures", "red"), Text(f"{failures:,.0f}/s", "red"))
        return table

    def _latencies(self, width: int) -> Table | None:
        latencies = self.window.latencies()[:6]
        if not latencies or width < 40:  # noqa: PLR2004
            return None
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("operation")
        for name in ("requests/s", "p50", "p99"):
            table.add_column(name, justify="right")
        for latency in latencies:
            table.add_row(latency.operation, f"{latency.rate:,.0f}", seconds(latency.p50), seconds(latency.p99))
        return table


def _bar(width: int, shares: Sequence[tuple[float, str]], label: str) -> Text:
    """Percentages of a bar, one after the other."""
    cells = max(10, min(width - len(label), 100))
    bar, used = Text(), 0
    reached = 0.0
    for percent, style in shares:
        reached += percent
        end = round(cells * reached / 100)
        bar.append("█" * (end - used), style)
        used = end
    bar.append("░" * (cells - used), "dim")
    return bar.append(label)


def _short_types(types: Sequence[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("type", "pages", "ratio"):
        table.add_column(name, justify="right")
    for numbers in types:
        value = numbers["compression_ratio"]
        table.add_row(str(numbers["type"]), f"{numbers['stored_pages']:,}", "–" if value is None else f"{value:.2f}")
    return table
