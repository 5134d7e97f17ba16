"""`pagepool map`: the page map of a type in the terminal, two cells in each character."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli import EXIT_FAILED
from app.cli.connection import OFFSET, of_service, of_type, open_client

if TYPE_CHECKING:
    from pagepool_client import Cell, Client
    from rich.text import Text

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "hole": (38, 38, 38),
    "zero": (66, 103, 172),
    "same": (52, 168, 168),
    "well compressed": (58, 148, 74),
    "badly compressed": (205, 178, 60),
    "raw": (201, 72, 58),
}
LETTERS = {"hole": ".", "zero": "0", "same": "=", "compressed": "+", "raw": "#"}

_UPPER_HALF = "▀"
_MAX_CELLS = 4096


@click.command
@of_type
@click.option("--from", "from_", type=OFFSET, help="First page; otherwise the first one held.")
@click.option("--count", type=click.IntRange(min=1), help="Pages; otherwise up to the last one held.")
@click.option("--rows", type=click.IntRange(min=1), help="Lines of the picture; otherwise what fits.")
@of_service
def draw_map(
    type_: int, from_: int | None, count: int | None, rows: int | None, url: str | None, token_file: Path | None
) -> None:
    """Draw what is held where.

    Zero, same-filled, compressed (the greener the better), raw, holes.
    """
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    with open_client(url, token_file) as client:
        held = _held(client, type_, from_, count)
        if held is None:
            click.echo(f"pagepool: type {type_} holds no page there.", err=True)
            sys.exit(EXIT_FAILED)
        first, pages = held
        width = min(console.width, 128)
        lines = rows or max(4, min(console.height - 5, 32))
        is_colourful = console.color_system is not None
        cells = client.cell_map(type_, first, pages, min(_MAX_CELLS, width * lines * (2 if is_colourful else 1)))
        page_size = client.page_size
    size = cells[0].count
    console.print(
        f"type {type_}, pages {first:,} to {first + pages - 1:,}; a cell is {size:,} page{'s' if size > 1 else ''}"
    )
    if is_colourful:
        for line in picture(cells, width, page_size):
            console.print(line)
        console.print(legend())
    else:
        for start in range(0, len(cells), width):
            print("".join(letter(cell) for cell in cells[start : start + width]))
        print("  ".join(f"{sign} {name}" for name, sign in LETTERS.items()))


def picture(cells: Sequence[Cell], width: int, page_size: int) -> list[Text]:
    """Lines of half blocks: the upper cell is the foreground, the one below it the background."""
    from rich.color import Color  # noqa: PLC0415
    from rich.style import Style  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colours = [colour(cell, page_size) for cell in cells]
    lines = []
    for start in range(0, len(colours), 2 * width):
        upper, lower = colours[start : start + width], colours[start + width : start + 2 * width]
        pairs = zip_longest(upper, lower[: len(upper)])
        line = Text()
        for (above, below), run in groupby(pairs):
            background = None if below is None else Color.from_rgb(*below)
            line.append(_UPPER_HALF * len(list(run)), Style(color=Color.from_rgb(*above), bgcolor=background))
        lines.append(line)
    return lines


def legend() -> Text:
    """Which colour is what."""
    from rich.style import Style  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    line = Text()
    for name, (red, green, blue) in COLOURS.items():
        line.append("■ ", Style(color=f"rgb({red},{green},{blue})"))
        line.append(f"{name}  ")
    return line


def colour(cell: Cell, page_size: int) -> Colour:
    """The mean of the colours of a cell's pages; what is absent counts as a hole."""
    compressed_bytes = max(0, cell.bytes - cell.raw * page_size)
    badness = min(1.0, compressed_bytes / (cell.compressed * page_size)) if cell.compressed else 0.0
    compressed = _mix([(COLOURS["well compressed"], 1 - badness), (COLOURS["badly compressed"], badness)])
    return _mix(
        [
            (COLOURS["hole"], cell.count - cell.held),
            (COLOURS["zero"], cell.zero),
            (COLOURS["same"], cell.same),
            (compressed, cell.compressed),
            (COLOURS["raw"], cell.raw),
        ]
    )


def letter(cell: Cell) -> str:
    """The sign of what most of a cell's pages are; a hole only where nothing is held."""
    if not cell.held:
        return LETTERS["hole"]
    kinds = {"zero": cell.zero, "same": cell.same, "compressed": cell.compressed, "raw": cell.raw}
    return LETTERS[max(kinds, key=lambda kind: kinds[kind])]


def _mix(parts: Sequence[tuple[Colour, float]]) -> Colour:
    whole = sum(weight for _, weight in parts)
    red, green, blue = (round(sum(colour[i] * weight for colour, weight in parts) / whole) for i in range(3))
    return red, green, blue


def _held(client: Client, type_: int, from_: int | None, count: int | None) -> tuple[int, int] | None:
    """The range to draw: as asked for, or from the first page held to the last."""
    if from_ is not None and count is not None:
        return from_, count
    first, end = from_, None
    for run in client.allocation_runs(type_, from_ or 0, count):
        if run.state != "hole":
            first = run.offset if first is None else first
            end = run.offset + run.count
    if first is None or end is None:
        return None
    return first, count or end - first
