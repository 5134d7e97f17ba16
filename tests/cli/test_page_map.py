from __future__ import annotations

from pagepool_client import Cell
from rich.console import Console

from app.cli.page_map import COLOURS, colour, letter, picture

PAGE_SIZE = 4096


def cell(count: int = 8, **kinds: int) -> Cell:
    numbers = {"zero": 0, "same": 0, "compressed": 0, "raw": 0, "bytes": 0} | kinds
    return Cell(offset=0, count=count, **numbers)


def test_a_cell_of_one_kind_has_its_colour() -> None:
    """Holes, zero, same-filled and raw pages each have a colour; compressed ones turn from green to yellow."""
    assert colour(cell(), PAGE_SIZE) == COLOURS["hole"]
    assert colour(cell(zero=8), PAGE_SIZE) == COLOURS["zero"]
    assert colour(cell(same=8), PAGE_SIZE) == COLOURS["same"]
    assert colour(cell(raw=8, bytes=8 * (PAGE_SIZE + 9)), PAGE_SIZE) == COLOURS["raw"]
    assert colour(cell(compressed=8), PAGE_SIZE) == COLOURS["well compressed"]
    assert colour(cell(compressed=8, bytes=8 * PAGE_SIZE), PAGE_SIZE) == COLOURS["badly compressed"]


def test_a_mixed_cell_lies_between() -> None:
    """A cell's colour is the mean of its pages', and its letter the commonest kind's."""
    half = cell(zero=4, raw=4, bytes=4 * PAGE_SIZE)
    for index in range(3):
        ends = sorted((COLOURS["zero"][index], COLOURS["raw"][index]))
        assert ends[0] <= colour(half, PAGE_SIZE)[index] <= ends[1]
    assert letter(cell(zero=1, compressed=3)) == "+"
    assert letter(cell(raw=1)) == "#"
    assert letter(cell()) == "."


def test_two_cells_share_a_character() -> None:
    """A line of half blocks is two rows of cells; an odd last row has nothing below it."""
    lines = picture([cell(zero=8)] * 10, 4, PAGE_SIZE)
    assert [len(line) for line in lines] == [4, 2]
    console = Console(force_terminal=True, color_system="truecolor", width=20)
    with console.capture() as capture:
        console.print(lines[0])
    assert capture.get().count("38;2;66;103;172;48;2;66;103;172") == 1
