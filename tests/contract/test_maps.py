"""The allocation map and the cell map of a type (contract 2.3)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

LAST = 2**51 - 1
BODY = pages.mixed(200, seed=41)
CELL_KEYS = {"offset", "count", "zero", "same", "compressed", "raw", "bytes"}


def allocation(area: Area, from_: int, count: int) -> list[tuple[int, int, str]]:
    """The whole map of a range, however many calls it takes; each call's promises are checked."""
    runs: list[tuple[int, int, str]] = []
    at = from_
    while at < from_ + count:
        response = area.client.get(f"{area.base}/extents", params={"from": at, "count": from_ + count - at})
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["from"] == at
        assert at < answer["until"] <= from_ + count, "never empty, never past what was asked"
        assert answer["extents"], "never empty"
        expected = at
        for previous, run in zip([None, *answer["extents"]], answer["extents"], strict=False):
            assert run["offset"] == expected
            assert run["count"] > 0
            assert run["state"] in {"data", "zero", "hole"}
            assert previous is None or previous["state"] != run["state"], "adjacent runs are merged"
            expected += run["count"]
            runs.append((run["offset"], run["count"], run["state"]))
        assert expected == answer["until"]
        at = answer["until"]
    merged: list[tuple[int, int, str]] = []
    for offset, length, state in runs:
        if merged and merged[-1][2] == state:
            merged[-1] = (merged[-1][0], merged[-1][1] + length, state)
        else:
            merged.append((offset, length, state))
    return merged


def states(runs: list[tuple[int, int, str]]) -> dict[int, str]:
    return {offset + n: state for offset, count, state in runs for n in range(count)}


@pytest.mark.smoke
def test_allocation_map(area: Area) -> None:
    """The map tells data, zero pages and holes apart, page by page, with runs merged."""
    area.store(30, *BODY)
    area.delete(100, count=30)
    area.over_ranges("zero", (500, 300))
    found = states(allocation(area, 0, 1000))
    for offset in range(1000):
        page = BODY[offset - 30] if 30 <= offset < 230 and not 100 <= offset < 130 else None
        if 500 <= offset < 800:
            page = pages.zero()
        assert found[offset] == ("hole" if page is None else "data" if any(page) else "zero")


@pytest.mark.smoke
@pytest.mark.parametrize(("from_", "count"), [(0, 1), (63, 2), (64, 64), (65, 1), (10, 500)])
def test_allocation_of_a_window(area: Area, from_: int, count: int) -> None:
    """The map begins where it was asked to, and stays inside what was asked for."""
    area.store(60, *[pages.incompressible(1)] * 10)
    found = states(allocation(area, from_, count))
    assert found == {n: "data" if 60 <= n < 70 else "hole" for n in range(from_, from_ + count)}


@pytest.mark.smoke
def test_allocation_of_nothing(area: Area) -> None:
    """A type without pages is one hole."""
    assert allocation(area, 0, 1000) == [(0, 1000, "hole")]
    assert allocation(area, LAST, 1) == [(LAST, 1, "hole")]


def test_allocation_of_the_whole_address_space(area: Area) -> None:
    """The map of all addresses takes few calls when little is held."""
    for offset in (0, 10**6, 10**12, LAST):
        area.store(offset, BODY[2])
    holes_between = allocation(area, 0, LAST + 1)
    assert [run for run in holes_between if run[2] != "hole"] == [
        (offset, 1, "data" if any(BODY[2]) else "zero") for offset in (0, 10**6, 10**12, LAST)
    ]
    assert sum(count for _, count, _ in holes_between) == LAST + 1


def test_allocation_without_bounds(area: Area) -> None:
    """Without `from` and `count` the map starts at 0."""
    area.store(0, BODY[1])
    response = area.client.get(f"{area.base}/extents")
    assert response.status_code == 200
    assert response.json()["extents"][0]["offset"] == 0


@pytest.mark.parametrize(
    "query", ["from=-1&count=1", "from=0&count=0", "from=01&count=1", "from=x", "count=x", f"from={LAST}&count=2"]
)
def test_malformed_windows(area: Area, query: str) -> None:
    """A window that is malformed or past the last offset is 422 `bad_address`."""
    area.store(0, BODY[1])
    check_problem(area.client.get(f"{area.base}/extents?{query}"), 422, "bad_address")
    check_problem(area.client.get(f"{area.base}/map?cells=4&{query}"), 422, "bad_address")


def cells(area: Area, from_: int, count: int, number: int) -> list[dict]:
    response = area.client.get(f"{area.base}/map", params={"from": from_, "count": count, "cells": number})
    assert response.status_code == 200, response.text
    found = response.json()["cells"]
    assert all(set(cell) == CELL_KEYS for cell in found)
    at = from_
    for cell in found:
        assert cell["offset"] == at
        assert cell["count"] > 0
        assert cell["zero"] + cell["same"] + cell["compressed"] + cell["raw"] <= cell["count"]
        at += cell["count"]
    assert at == from_ + count
    assert len(found) <= number
    return found


@pytest.mark.smoke
@pytest.mark.parametrize("number", [1, 2, 3, 7, 64, 100, 256])
def test_cell_map(area: Area, number: int) -> None:
    """The map has for each cell the counts by kind and the bytes, and they add up to the type's own."""
    area.store(30, *BODY)
    found = cells(area, 0, 256, number)
    assert len(found) == number
    shown = area.show()
    assert sum(cell["zero"] for cell in found) == shown["zero_pages"]
    assert sum(cell["same"] for cell in found) == shown["same_filled_pages"]
    assert sum(cell["compressed"] for cell in found) == shown["compressed_pages"]
    assert sum(cell["raw"] for cell in found) == shown["incompressible_pages"]
    assert sum(cell["bytes"] for cell in found) == pytest.approx(shown["pool_bytes"], abs=number)


def test_cells_by_kind(area: Area) -> None:
    """Each cell's counts by kind are those of its pages."""
    area.store(0, *BODY)
    for cell in cells(area, 0, 192, 3):
        inside = BODY[cell["offset"] : cell["offset"] + cell["count"]]
        assert {kind: cell[kind] for kind in pages.KINDS} == pages.counts_of(inside)


def test_cells_of_single_pages(area: Area) -> None:
    """A map can go down to a page a cell."""
    area.store(10, *BODY[:50])
    for cell in cells(area, 0, 70, 70):
        inside = BODY[cell["offset"] - 10 : cell["offset"] - 9] if 10 <= cell["offset"] < 60 else []
        assert {kind: cell[kind] for kind in pages.KINDS} == pages.counts_of(inside)


def test_more_cells_than_pages(area: Area) -> None:
    """More cells than pages are asked for: no cell is empty of addresses."""
    area.store(0, BODY[0])
    cells(area, 0, 10, 100)


def test_a_large_map(area: Area) -> None:
    """A map of a wide and sparse range is bounded work."""
    area.store(0, *BODY)
    area.store(10**9, *BODY)
    found = cells(area, 0, 2**31, 4096)
    assert sum(cell["zero"] + cell["same"] + cell["compressed"] + cell["raw"] for cell in found) == 400


@pytest.mark.parametrize("number", ["0", "4097", "-1", "x", ""])
def test_malformed_cells(area: Area, number: str) -> None:
    """1 ≤ N ≤ 4096."""
    area.store(0, BODY[0])
    response = area.client.get(f"{area.base}/map?from=0&count=100&cells={number}")
    assert response.status_code == 422
    check_problem(response, 422)
