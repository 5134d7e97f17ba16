"""POST …/take, the exclusive load (contract 2.1)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import pages
from tests.harness.area import NUMBERS, Area
from tests.harness.problems import check_problem

KINDS = pages.of_each_kind()


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_take(area: Area, kind: str) -> None:
    """A take answers with the page's bytes, and the page is gone."""
    area.store(4, KINDS[kind])
    response = area.take(4)
    assert (response.status_code, response.content) == (200, KINDS[kind])
    assert response.headers["content-type"] == "application/octet-stream"
    assert area.is_absent(4)
    assert area.numbers() == dict.fromkeys(NUMBERS, 0)


@pytest.mark.smoke
def test_take_of_an_absent_page(area: Area) -> None:
    """A take of an absent page is 404."""
    document = check_problem(area.take(4), 404, "page_missing")
    assert document["missing"] == [[4, 1]]


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_one_of_several_takers_gets_it(area: Area, kind: str) -> None:
    """Of several takers one gets 200."""
    for offset in range(8):
        area.store(offset, KINDS[kind])
        with ThreadPoolExecutor(6) as takers:
            answers = list(takers.map(lambda _, at=offset: area.take(at), range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [404] * 5
        assert next(answer.content for answer in answers if answer.status_code == 200) == KINDS[kind]


def test_every_stored_version_is_taken_at_most_once(area: Area) -> None:
    """A take that finds the page changed meanwhile tries again: no version is given twice, none is torn."""
    versions = [pages.compressible(n) for n in range(40)]

    def store_all() -> None:
        for page in versions:
            area.store(4, page)

    def take_some(_: int) -> list[bytes]:
        answers = [area.take(4) for _ in range(40)]
        assert {answer.status_code for answer in answers} <= {200, 404}
        return [answer.content for answer in answers if answer.status_code == 200]

    with ThreadPoolExecutor(4) as pool:
        storing = pool.submit(store_all)
        taken = [page for part in pool.map(take_some, range(3)) for page in part]
        storing.result()
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(versions)


def test_the_safe_form(area: Area) -> None:
    """GET followed by DELETE with If-Match takes a page without the risk of losing it."""
    area.store(4, KINDS["compressed"])
    tag = area.get(4).headers["etag"]
    area.store(4, KINDS["raw"])
    check_problem(area.delete(4, headers={"If-Match": tag}), 412, "precondition_failed")
    tag = area.get(4).headers["etag"]
    assert area.delete(4, headers={"If-Match": tag}).status_code == 204


def test_take_of_a_malformed_address(area: Area) -> None:
    """A take's address is checked as every other."""
    check_problem(area.client.post(f"/v1/pages/{area.type}/01/take"), 422, "bad_address")
    check_problem(area.client.post(f"/v1/pages/{area.type}/{2**51}/take"), 422, "bad_address")


def test_take_counts_as_a_load_that_hit(area: Area) -> None:
    """A take is a load."""
    area.store(4, KINDS["raw"])
    before = area.service.metrics()
    area.take(4)
    assert area.service.metrics().since(before).get("loads.hit_raw") == 1
