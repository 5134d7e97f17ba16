"""The door answers plain requests for one page on a way of its own: nobody must be able to tell."""

import pytest

from tests.harness import pages
from tests.harness.area import NUMBERS, Area
from tests.harness.problems import check_problem

KINDS = {
    "zero": pages.zero(),
    "same": pages.same(),
    "compressed": pages.compressible(1),
    "raw": pages.incompressible(1),
}
VARYING = {"date", "x-request-id"}
EVERYTHING = {"If-None-Match": '"0"'}
"""A precondition that always holds here: with it a request goes the long way."""


def headers(response) -> dict[str, str]:
    """Those that two answers to one request must share."""
    return {name: value for name, value in response.headers.items() if name not in VARYING}


@pytest.mark.smoke
@pytest.mark.parametrize("kind", KINDS)
def test_a_load_is_answered_alike(area: Area, kind: str) -> None:
    """Status, headers and bytes of a load do not depend on the way."""
    area.store(7, KINDS[kind])
    area.get(7)  # now the head of a plain load is known
    short, long = area.get(7), area.get(7, headers=EVERYTHING)
    assert short.status_code == long.status_code == 200
    assert headers(short) == headers(long)
    assert short.content == long.content == KINDS[kind]
    assert short.headers["page-kind"] == kind


@pytest.mark.parametrize("before", [None, *KINDS])
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_answered_and_counted_alike(area: Area, kind: str, before: str | None) -> None:
    """Answer, page and counters of a store do not depend on the way, whatever was there before and beside it."""
    found = []
    for base, conditions in ((0, {}), (64, EVERYTHING)):
        area.store(base, KINDS["zero"], KINDS["raw"])
        if before is not None:
            area.store(base + 5, KINDS[before])
        numbers = area.numbers()
        answer = area.put(base + 5, KINDS[kind], headers=conditions)
        assert answer.status_code == 204
        grown = {name: area.numbers()[name] - numbers[name] for name in NUMBERS}
        found.append((headers(answer), grown, area.get(base + 5).content))
    assert found[0] == found[1]


def test_an_absent_page_is_missed_alike(area: Area) -> None:
    """A miss is 404 on either way, beside pages that are there and in a chunk of its own."""
    area.store(0, KINDS["raw"])
    for offset in (1, 64, 0):
        area.get(offset)
    for offset in (1, 64):
        missing = check_problem(area.get(offset), 404, "page_missing")["missing"]
        assert missing == check_problem(area.get(offset, headers=EVERYTHING), 404, "page_missing")["missing"]
