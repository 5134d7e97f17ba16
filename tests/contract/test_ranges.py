"""invalidate and zero over ranges: trim and write-zeroes without a payload (contract 2.2)."""

import time

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

LAST = 2**51 - 1
BODY = pages.mixed(300, seed=21)


@pytest.mark.smoke
def test_invalidate_ranges(area: Area) -> None:
    """`invalidate` drops what is held in the ranges, and says how many pages that were."""
    area.store(0, *BODY)
    response = area.over_ranges("invalidate", (5, 3), (60, 80), (290, 100), (1000, 5))
    assert (response.status_code, response.json()) == (200, {"invalidated": 93})
    gone = {*range(5, 8), *range(60, 140), *range(290, 300)}
    found = area.get(0, count=300, missing="zero")
    assert pages.split(found.content) == [pages.zero() if n in gone else page for n, page in enumerate(BODY)]
    assert area.numbers()["stored_pages"] == 207


@pytest.mark.smoke
def test_invalidate_takes_any_range(area: Area) -> None:
    """`invalidate` takes any range; its work grows with the pages held, not with the range."""
    for offset in (0, 1, 64, 10**6, 10**12, LAST):
        area.store(offset, BODY[0])
    started = time.monotonic()
    assert area.over_ranges("invalidate", (1, LAST - 1)).json() == {"invalidated": 4}
    assert area.over_ranges("invalidate", (0, LAST + 1)).json() == {"invalidated": 2}
    assert time.monotonic() - started < 5


@pytest.mark.smoke
def test_zero_ranges(area: Area) -> None:
    """`zero` stores zero pages over the ranges: holes become zero pages, blobs go."""
    area.store(0, *BODY)
    response = area.over_ranges("zero", (5, 3), (60, 80), (290, 100))
    assert (response.status_code, response.json()) == (200, {"zeroed": 183})
    zeroed = {*range(5, 8), *range(60, 140), *range(290, 390)}
    assert area.load_pages(0, 390) == [pages.zero() if n in zeroed else BODY[n] for n in range(390)]
    numbers = area.numbers()
    assert numbers["stored_pages"] == 390
    assert numbers["zero_pages"] == len(zeroed) + sum(not any(page) for n, page in enumerate(BODY) if n not in zeroed)


def test_zero_takes_at_most_a_million_pages(area: Area) -> None:
    """`zero` takes at most 2^20 pages a request, in all its ranges, and is 413 past it."""
    check_problem(area.over_ranges("zero", (0, 2**20 + 1)), 413, None, "kept")
    check_problem(area.over_ranges("zero", (0, 2**19), (2**20, 2**19), (2**30, 1)), 413, None, "kept")
    assert area.numbers()["stored_pages"] == 0


def test_zero_of_a_large_range(area: Area) -> None:
    """`zero` of 2^18 pages is one call, adds nothing to pool_bytes, and can be dropped by one."""
    assert area.over_ranges("zero", (7, 2**18)).json() == {"zeroed": 2**18}
    numbers = area.numbers()
    assert (numbers["stored_pages"], numbers["zero_pages"], numbers["pool_bytes"]) == (2**18, 2**18, 0)
    assert area.load(7 + 2**18 - 1) == pages.zero()
    assert area.is_absent(7 + 2**18)
    assert area.over_ranges("invalidate", (0, LAST)).json() == {"invalidated": 2**18}


def test_zero_when_full(area: Area, tune) -> None:
    """`zero` is welcome when the pool is full."""
    area.store(0, *BODY[:10])
    tune(max_pool_bytes=1)
    assert area.over_ranges("zero", (0, 20)).json() == {"zeroed": 20}
    assert area.numbers()["pool_bytes"] == 0


@pytest.mark.parametrize("call", ["invalidate", "zero"])
def test_no_ranges(area: Area, call: str) -> None:
    """No extents is nothing to do."""
    area.store(0, BODY[0])
    response = area.over_ranges(call)
    assert response.status_code in {200, 422}
    assert area.load(0) == BODY[0]


@pytest.mark.parametrize("call", ["invalidate", "zero"])
@pytest.mark.parametrize(
    "extents",
    [
        [[-1, 1]],
        [[0, 0]],
        [[0, -5]],
        [[LAST, 2]],
        [[LAST + 1, 1]],
        [[2**64, 1]],
        [[0.5, 1]],
        [["0", "1"]],
        [[0]],
        [[0, 1, 2]],
        [0, 1],
        "0,1",
        None,
        [[0, True]],
        [[0, 1], None],
    ],
)
def test_malformed_ranges(area: Area, call: str, extents) -> None:
    """A malformed range is refused, and nothing of the request is done."""
    area.store(0, BODY[2])
    response = area.client.post(
        f"/v1/pages/{area.type}/{call}", json={"extents": [[0, 1], *extents] if isinstance(extents, list) else extents}
    )
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)
    assert area.load(0) == BODY[2]


def test_overlapping_ranges(area: Area) -> None:
    """Ranges that overlap count each page once when it is invalidated."""
    area.store(0, *BODY[:20])
    assert area.over_ranges("invalidate", (0, 10), (5, 10)).json() == {"invalidated": 15}


@pytest.mark.smoke
def test_invalidates_are_counted_in_pages(area: Area) -> None:
    """`pagepool_invalidates_total` counts pages, whatever call invalidated them."""
    area.store(0, *BODY[:50])
    before = area.service.metrics()
    area.delete(0)
    area.delete(0)
    area.delete(1, count=5)
    area.over_ranges("invalidate", (0, 20))
    assert area.service.metrics().since(before)["invalidates"] == 20
