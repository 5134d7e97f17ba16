"""Disabled stores, and the bound on the number of pages (contract 2.1, 2.5)."""

import pytest

from tests.harness import frames, pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

KINDS = pages.of_each_kind()
RAW = pages.incompressible(5)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_disabled_stores_refuse_every_kind(area: Area, tune, kind: str) -> None:
    """While stores are disabled every store is 503 `stores_disabled`, zero pages too, with no Retry-After."""
    area.store(1, RAW)
    tune(enabled=False)
    response = area.put(1, KINDS[kind])
    check_problem(response, 503, "stores_disabled", "invalidated")
    assert "retry-after" not in response.headers
    assert area.is_absent(1)


@pytest.mark.smoke
def test_disabled_stores_refuse_extents_and_frames(area: Area, tune) -> None:
    """An extent is refused whole while stores are disabled, in whatever form; each page counts."""
    area.store(0, *[RAW] * 10)
    tune(enabled=False)
    before = area.service.metrics()
    document = check_problem(area.put(0, *[RAW] * 3), 503, "stores_disabled", "invalidated")
    assert document.get("stored", 0) == 0
    assert document.get("rejected", [[0, 3]]) == [[0, 3]]
    check_problem(area.put_frames(3, frames.data(3, RAW), frames.zero(4, 2)), 503, "stores_disabled", "invalidated")
    check_problem(area.over_ranges("zero", (7, 2)), 503, "stores_disabled", "invalidated")
    changes = area.service.metrics().since(before)
    assert changes["rejects.disabled"] == 8
    assert not any(name.startswith("stores") for name in changes)
    assert [area.is_absent(offset) for offset in range(10)] == [True] * 6 + [False] + [True] * 2 + [False]


@pytest.mark.smoke
def test_disabled_stores_leave_loads_and_invalidates(area: Area, tune) -> None:
    """While stores are disabled loads and invalidates go on."""
    area.store(0, *[RAW] * 6)
    tune(enabled=False)
    assert area.load_pages(0, 6) == [RAW] * 6
    assert area.load_frames(0) == {0: RAW}
    assert area.take(0).status_code == 200
    assert area.delete(1).status_code == 204
    assert area.delete(2, count=2).json() == {"invalidated": 2}
    assert area.over_ranges("invalidate", (0, 100)).json() == {"invalidated": 2}
    tune(enabled=True)
    area.store(0, RAW)


@pytest.mark.smoke
@pytest.mark.combination("door", "asgi")
@pytest.mark.parametrize("kind", pages.KINDS)
def test_metadata_full(area: Area, tune, kind: str) -> None:
    """max_stored_pages stops new pages of every kind with 507 `metadata_full`, without Retry-After."""
    area.store(0, *[pages.zero()] * 5)
    tune(max_stored_pages=area.service.pool()["stored_pages"])
    before = area.service.metrics()
    check_problem(area.put(100, KINDS[kind]), 507, "metadata_full", "invalidated")
    assert area.is_absent(100)
    changes = area.service.metrics().since(before)
    assert changes == {"rejects.metadata_full": 1, "loads.miss": 1}


@pytest.mark.combination("door", "asgi")
def test_metadata_full_in_an_extent(area: Area, tune) -> None:
    """An extent is stored up to max_stored_pages and refused past it."""
    tune(max_stored_pages=area.service.pool()["stored_pages"] + 10)
    document = check_problem(area.put(60, *pages.mixed(15)), 507, "metadata_full", "invalidated")
    assert document["stored"] == 10
    assert sum(count for _, count in document["rejected"]) == 5
    assert area.numbers()["stored_pages"] == 10


def test_metadata_full_makes_room_by_invalidating(area: Area, tune) -> None:
    """Once pages are gone, others are stored again."""
    area.store(0, *[pages.zero()] * 5)
    tune(max_stored_pages=area.service.pool()["stored_pages"])
    check_problem(area.put(100, RAW), 507, "metadata_full")
    area.delete(0)
    area.store(100, RAW)


def test_metadata_full_stops_zero_ranges(area: Area, tune) -> None:
    """write-zeroes without a payload obeys max_stored_pages."""
    tune(max_stored_pages=area.service.pool()["stored_pages"] + 10)
    check_problem(area.over_ranges("zero", (0, 1000)), 507, "metadata_full", "invalidated")
    assert area.numbers()["stored_pages"] <= 10


def test_no_pages_at_all(area: Area, tune) -> None:
    """max_stored_pages = 0 refuses every page."""
    tune(max_stored_pages=0)
    check_problem(area.put(1, pages.zero()), 507, "metadata_full")
