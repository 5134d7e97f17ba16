"""DELETE of pages and ranges (contract 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import NUMBERS, Area
from tests.harness.problems import check_problem

KINDS = pages.of_each_kind()


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_delete_one_page(area: Area, kind: str) -> None:
    """DELETE of a present page is 204, of an absent one 404, and the counts go back to nothing."""
    area.store(4, KINDS[kind])
    response = area.delete(4)
    assert (response.status_code, response.content) == (204, b"")
    assert area.is_absent(4)
    check_problem(area.delete(4), 404, "page_missing")
    assert area.numbers() == dict.fromkeys(NUMBERS, 0)


def test_count_of_one(area: Area) -> None:
    """count=1 is one page."""
    area.store(4, KINDS["raw"])
    assert area.delete(4, count=1).status_code == 204
    assert area.delete(4, count=1).status_code == 404


@pytest.mark.smoke
def test_delete_an_extent(area: Area) -> None:
    """DELETE with count > 1 is 200 and the number of pages invalidated, absent ones left out."""
    area.store(60, *pages.mixed(10))
    area.delete(63)
    response = area.delete(58, count=10)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "application/json"
    assert response.json() == {"invalidated": 7}
    assert [area.is_absent(offset) for offset in range(58, 72)] == [True] * 10 + [False] * 2 + [True] * 2


def test_delete_an_empty_extent(area: Area) -> None:
    """DELETE with count > 1 of nothing is 200 and 0."""
    response = area.delete(58, count=10)
    assert (response.status_code, response.json()) == (200, {"invalidated": 0})


def test_delete_leaves_neighbours(area: Area) -> None:
    """DELETE touches the page named and no other."""
    area.store(62, *[KINDS["raw"]] * 4)
    area.delete(63)
    assert [area.is_absent(offset) for offset in range(62, 66)] == [False, True, False, False]


def test_delete_the_last_page_of_all(area: Area) -> None:
    """The last offset can be invalidated, and an extent past it is refused."""
    last = 2**51 - 1
    area.store(last, KINDS["raw"])
    check_problem(area.delete(last, count=2), 422, "bad_address")
    assert area.delete(last).status_code == 204


def test_store_after_delete(area: Area) -> None:
    """A page can be stored again after it was invalidated."""
    for page in KINDS.values():
        area.store(4, page)
        assert area.load(4) == page
        assert area.delete(4).status_code == 204
