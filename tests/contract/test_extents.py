"""Extents: several consecutive pages in one call (contract 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import request

MIXED = pages.mixed(200, seed=1)


@pytest.mark.smoke
@pytest.mark.parametrize(("offset", "count"), [(0, 2), (63, 2), (60, 70), (1, 64), (64, 64), (1000, 200)])
def test_store_and_load_an_extent(area: Area, offset: int, count: int) -> None:
    """Pages stored in one body come back in one body, wherever the extent starts and ends."""
    response = area.store(offset, *MIXED[:count])
    assert response.headers["page-counts"] == pages.counts_header(MIXED[:count])
    assert "etag" not in response.headers
    response = area.get(offset, count=count)
    assert response.status_code == 200
    assert response.content == b"".join(MIXED[:count])
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert "etag" not in response.headers
    assert "page-kind" not in response.headers


@pytest.mark.smoke
def test_the_largest_extent(area: Area) -> None:
    """An extent has up to max_extent_pages pages."""
    largest = area.service.pool()["max_extent_pages"]
    assert largest == 512
    body = pages.mixed(largest, seed=2)
    area.store(10, *body)
    assert area.load(10, largest) == b"".join(body)


def test_an_extent_read_page_by_page(area: Area) -> None:
    """Pages stored as an extent can be loaded one by one, and the other way round."""
    area.store(50, *MIXED[:30])
    assert [area.load(50 + index) for index in range(30)] == MIXED[:30]
    for index, page in enumerate(MIXED[30:60]):
        area.store(80 + index, page)
    assert area.load_pages(50, 60) == MIXED[:60]


@pytest.mark.smoke
def test_a_missing_page_in_an_extent(area: Area) -> None:
    """If any page is absent the extent is 404 with the runs that are missing, in absolute offsets."""
    area.store(100, *MIXED[:10])
    for offset in (103, 104, 105, 109):
        area.delete(offset)
    document = check_problem(area.get(98, count=15), 404, "page_missing")
    assert document["missing"] == [[98, 2], [103, 3], [109, 4]]


@pytest.mark.smoke
def test_missing_pages_read_as_zeros(area: Area) -> None:
    """With missing=zero absent pages read as zeros, and the headers say how many and which."""
    area.store(100, *MIXED[:10])
    area.delete(103, count=3)
    area.delete(109)
    response = area.get(100, count=10, missing="zero")
    expected = [pages.zero() if index in {3, 4, 5, 9} else page for index, page in enumerate(MIXED[:10])]
    assert response.status_code == 200
    assert pages.split(response.content) == expected
    assert response.headers["page-missing-count"] == "4"
    assert response.headers["page-missing"] == "103-105, 109"


def test_page_missing_up_to_32_runs(area: Area) -> None:
    """`Page-Missing` is there as long as it is at most 32 runs; `Page-Missing-Count` always."""
    for index in range(40):
        area.store(2 * index + 1, pages.zero())
    response = area.get(0, count=64, missing="zero")
    assert response.headers["page-missing-count"] == "32"
    assert response.headers["page-missing"] == ", ".join(str(2 * index) for index in range(32))
    response = area.get(0, count=66, missing="zero")
    assert response.headers["page-missing-count"] == "33"
    assert "page-missing" not in response.headers


def test_an_extent_with_nothing_in_it(area: Area) -> None:
    """An extent of absent pages is one missing run."""
    assert check_problem(area.get(100, count=300), 404, "page_missing")["missing"] == [[100, 300]]
    response = area.get(100, count=300, missing="zero")
    assert response.content == bytes(300 * 4096)
    assert response.headers["page-missing"] == "100-399"


def test_an_extent_overwrites_page_by_page(area: Area) -> None:
    """A later extent replaces the pages that it covers and leaves the others."""
    area.store(40, *MIXED[:50])
    area.store(60, *MIXED[100:120])
    assert area.load_pages(40, 50) == MIXED[:20] + MIXED[100:120] + MIXED[40:50]
    assert area.numbers()["stored_pages"] == 50


@pytest.mark.parametrize("count", ["0", "-1", "+1", "01", "", "1.0", "1e1", "0x1", "1_0", " 1", "two", "٣", str(2**63)])
def test_malformed_counts(area: Area, count: str) -> None:
    """A count that is malformed or out of range is 422 `bad_address`."""
    area.store(0, *MIXED[:3])
    check_problem(area.get(0, count=count), 422, "bad_address")
    check_problem(area.delete(0, count=count), 422, "bad_address")
    assert area.load_pages(0, 3) == MIXED[:3]


def test_a_load_of_too_many_pages(area: Area) -> None:
    """A load of more than max_extent_pages is refused."""
    response = area.get(0, count=513, missing="zero")
    assert response.status_code in {413, 422}
    check_problem(response, response.status_code)


@pytest.mark.smoke
def test_an_extent_past_the_last_offset(area: Area) -> None:
    """An extent past the last offset is 422 `bad_address`, and stores nothing of it."""
    last = 2**51 - 1
    check_problem(area.put(last, *MIXED[:2]), 422, "bad_address", "kept")
    check_problem(area.get(last, count=2), 422, "bad_address")
    assert area.is_absent(last)
    area.store(last - 1, *MIXED[:2])
    assert area.load_pages(last - 1, 2) == MIXED[:2]


def test_an_answer_of_an_extent_has_a_length(area: Area) -> None:
    """An extent is answered with its exact Content-Length."""
    area.store(0, *MIXED)
    with area.service.raw() as raw:
        raw.send(request("GET", f"{area.url(0)}?count=200"))
        response = raw.read()
    assert response.header("content-length") == str(200 * 4096)
    assert response.body == b"".join(MIXED)


def test_counts_of_a_snapshot(area: Area) -> None:
    """Real pages in extents of every length come back the same, and the counts by kind are right."""
    real = pages.real(1000)
    at = 0
    for count in (1, 511, 2, 63, 65, 358):
        area.store(at, *real[at : at + count])
        at += count
    assert area.load_pages(0, 500) + area.load_pages(500, 500) == list(real)
    counts, numbers = pages.counts_of(real), area.numbers()
    assert numbers["stored_pages"] == 1000
    assert numbers["zero_pages"] == counts["zero"]
    assert numbers["same_filled_pages"] == counts["same"]
    assert numbers["incompressible_pages"] == counts["raw"]
