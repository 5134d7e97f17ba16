"""RFC 9110 §13 on single pages (contract 2.1)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

KINDS = pages.of_each_kind()
OLD, NEW, THIRD = pages.compressible(1), pages.compressible(2), pages.compressible(3)
TAG, OTHER = pages.etag(OLD), '"0123456789abcdef"'

MATCHING = {
    "the tag": TAG,
    "any": "*",
    "a list with it": f"{OTHER}, {TAG}",
    "a list without spaces": f"{OTHER},{TAG},{OTHER}",
    "a list with empty elements": f", ,{TAG} ,",
    "beside a weak one": f"W/{OTHER}, {TAG}",
    "beside a tag with a comma": f'"a,b", {TAG}',
    "beside an empty tag": f'"", {TAG}',
}
NOT_MATCHING = {
    "another tag": OTHER,
    "a list of others": f'{OTHER}, "x"',
    "a tag with a comma that holds it": f'"a,{TAG[1:-1]}"',
    "the tag in a longer one": f'"{TAG[1:-1]}0"',
    "a quoted star": '"*"',
    "an upper-case tag": '"ABCDEFABCDEFABCD"',
}
WEAK = {"the tag, weak": f"W/{TAG}", "a list with it, weak": f"{OTHER}, W/{TAG}"}


@pytest.mark.smoke
@pytest.mark.parametrize("value", MATCHING.values(), ids=MATCHING)
def test_if_match_that_holds(area: Area, value: str) -> None:
    """PUT with If-Match stores when one of the tags is the page's, or the page is there for `*`."""
    area.store(1, OLD)
    response = area.put(1, NEW, headers={"If-Match": value})
    assert response.status_code == 204
    assert response.headers["etag"] == pages.etag(NEW)
    assert area.load(1) == NEW


@pytest.mark.smoke
@pytest.mark.parametrize("value", [*NOT_MATCHING.values(), *WEAK.values()], ids=[*NOT_MATCHING, *WEAK])
def test_if_match_that_does_not_hold(area: Area, value: str) -> None:
    """PUT with If-Match is 412 when no tag matches by strong comparison, and changes nothing."""
    area.store(1, OLD)
    check_problem(area.put(1, NEW, headers={"If-Match": value}), 412, "precondition_failed", "kept")
    assert area.load(1) == OLD


@pytest.mark.parametrize("value", ["*", TAG])
def test_if_match_on_an_absent_page(area: Area, value: str) -> None:
    """PUT with If-Match is 412 when nothing is there."""
    check_problem(area.put(1, NEW, headers={"If-Match": value}), 412, "precondition_failed", "kept")
    assert area.is_absent(1)


@pytest.mark.smoke
@pytest.mark.parametrize("value", [*MATCHING.values(), *WEAK.values()], ids=[*MATCHING, *WEAK])
def test_if_none_match_that_fails_a_store(area: Area, value: str) -> None:
    """PUT with If-None-Match is 412 when a tag matches by weak comparison, or the page is there for `*`."""
    area.store(1, OLD)
    check_problem(area.put(1, NEW, headers={"If-None-Match": value}), 412, "precondition_failed", "kept")
    assert area.load(1) == OLD


@pytest.mark.parametrize("value", NOT_MATCHING.values(), ids=NOT_MATCHING)
def test_if_none_match_that_lets_a_store_pass(area: Area, value: str) -> None:
    """PUT with If-None-Match stores when no tag matches."""
    area.store(1, OLD)
    assert area.put(1, NEW, headers={"If-None-Match": value}).status_code == 204
    assert area.load(1) == NEW


@pytest.mark.smoke
def test_create_only(area: Area) -> None:
    """PUT with If-None-Match: * stores where nothing is, and only there."""
    assert area.put(1, OLD, headers={"If-None-Match": "*"}).status_code == 204
    check_problem(area.put(1, NEW, headers={"If-None-Match": "*"}), 412, "precondition_failed", "kept")
    assert area.load(1) == OLD


@pytest.mark.smoke
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", [*MATCHING.values(), *WEAK.values()], ids=[*MATCHING, *WEAK])
def test_not_modified(area: Area, method: str, value: str) -> None:
    """GET and HEAD with an If-None-Match that matches are 304: no body, the ETag, the Cache-Control of the 200."""
    area.store(1, OLD)
    response = area.client.request(method, area.url(1), headers={"If-None-Match": value})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == TAG
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", NOT_MATCHING.values(), ids=NOT_MATCHING)
def test_modified(area: Area, method: str, value: str) -> None:
    """GET and HEAD with an If-None-Match that does not match answer with the page."""
    area.store(1, OLD)
    response = area.client.request(method, area.url(1), headers={"If-None-Match": value})
    assert response.status_code == 200
    assert response.content == (OLD if method == "GET" else b"")


@pytest.mark.parametrize("kind", pages.KINDS)
def test_each_kind_has_a_tag_to_match(area: Area, kind: str) -> None:
    """Preconditions work on pages of every kind, zero pages included."""
    tag = pages.etag(KINDS[kind])
    area.store(1, KINDS[kind])
    assert area.get(1, headers={"If-None-Match": tag}).status_code == 304
    check_problem(area.put(1, OLD, headers={"If-Match": OTHER}), 412)
    check_problem(area.delete(1, headers={"If-None-Match": tag}), 412)
    assert area.put(1, OLD, headers={"If-Match": tag}).status_code == 204
    assert area.put(1, KINDS[kind], headers={"If-Match": TAG}).status_code == 204
    assert area.delete(1, headers={"If-Match": tag}).status_code == 204
    assert area.is_absent(1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match_on_loads(area: Area, method: str) -> None:
    """GET and HEAD with an If-Match that does not hold are 412, and the page when it does."""
    area.store(1, OLD)
    assert area.client.request(method, area.url(1), headers={"If-Match": f"{OTHER}, {TAG}"}).status_code == 200
    assert area.client.request(method, area.url(1), headers={"If-Match": OTHER}).status_code == 412
    assert area.client.request(method, area.url(1), headers={"If-Match": f"W/{TAG}"}).status_code == 412


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("value", "status"), [(TAG, 204), ("*", 204), (f"{OTHER}, {TAG}", 204), (OTHER, 412), (f"W/{TAG}", 412)]
)
def test_if_match_on_delete(area: Area, value: str, status: int) -> None:
    """DELETE with If-Match invalidates that very version, or nothing."""
    area.store(1, OLD)
    assert area.delete(1, headers={"If-Match": value}).status_code == status
    assert area.is_absent(1) == (status == 204)


@pytest.mark.parametrize(("value", "status"), [(TAG, 412), ("*", 412), (f"W/{TAG}", 412), (OTHER, 204)])
def test_if_none_match_on_delete(area: Area, value: str, status: int) -> None:
    """DELETE with If-None-Match is 412 when a tag matches."""
    area.store(1, OLD)
    assert area.delete(1, headers={"If-None-Match": value}).status_code == status
    assert area.is_absent(1) == (status == 204)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["*", TAG])
def test_preconditions_are_ignored_where_the_answer_is_404(area: Area, method: str, header: str, value: str) -> None:
    """Preconditions are ignored where the answer without them would be neither 2xx nor 412 (RFC 9110, 13.2.1)."""
    assert area.client.request(method, area.url(1), headers={header: value}).status_code == 404


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "get", "put"),
    [
        (TAG, OTHER, 200, 204),
        (TAG, TAG, 304, 412),
        (OTHER, OTHER, 412, 412),
        (OTHER, TAG, 412, 412),
        ("*", "*", 304, 412),
    ],
)
def test_precedence(area: Area, if_match: str, if_none_match: str, get: int, put: int) -> None:
    """If-Match is looked at first, If-None-Match after it (RFC 9110, 13.2.2)."""
    headers = {"If-Match": if_match, "If-None-Match": if_none_match}
    area.store(1, OLD)
    assert area.get(1, headers=headers).status_code == get
    assert area.put(1, NEW, headers=headers).status_code == put
    assert area.load(1) == (NEW if put == 204 else OLD)


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since"])
@pytest.mark.parametrize("date", ["Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 31 Dec 2100 23:59:59 GMT", "nonsense"])
def test_dates_are_ignored(area: Area, header: str, date: str) -> None:
    """A page has no modification date, so preconditions on dates are ignored (RFC 9110, 13.1.3 and 13.1.4)."""
    area.store(1, OLD)
    assert area.get(1, headers={header: date}).status_code == 200
    assert area.put(1, NEW, headers={header: date}).status_code == 204
    assert area.delete(1, headers={header: date}).status_code == 204


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_list_over_several_lines(area: Area, header: str) -> None:
    """A list may come in several header lines, which are one list (RFC 9110, 5.3)."""
    area.store(1, OLD)
    response = area.client.put(
        area.url(1), content=NEW, headers=[("Content-Type", "application/octet-stream"), (header, OTHER), (header, TAG)]
    )
    assert response.status_code == (204 if header == "If-Match" else 412)


@pytest.mark.parametrize("value", [TAG[1:-1], f"{TAG}{TAG}", f"{TAG[:-1]}", "", "w/" + TAG, f"* , {TAG}"])
def test_malformed_lists_never_match(area: Area, value: str) -> None:
    """What is no list of entity tags is refused or matches nothing; it never lets a store pass as If-Match."""
    area.store(1, OLD)
    assert area.put(1, NEW, headers={"If-Match": value}).status_code in {400, 412, 422}
    assert area.load(1) == OLD


@pytest.mark.smoke
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_preconditions_on_extents(area: Area, header: str) -> None:
    """Preconditions with count > 1 or a longer body are 422, and nothing changes."""
    area.store(1, OLD, NEW)
    check_problem(area.put(1, THIRD, THIRD, headers={header: TAG}), 422, previous="kept")
    check_problem(area.get(1, headers={header: TAG}, count=2), 422)
    check_problem(area.delete(1, headers={header: TAG}, count=2), 422)
    assert area.head(1, headers={header: TAG}, count=2).status_code == 422
    assert area.load_pages(1, 2) == [OLD, NEW]


def test_compare_and_swap_is_atomic(area: Area) -> None:
    """Of several writers that swap the same version one succeeds, each time."""
    current = pages.compressible(100)
    area.store(1, current)
    for round_ in range(8):
        candidates = [pages.compressible(1000 + round_ * 10 + n) for n in range(5)]
        tag = pages.etag(current)
        with ThreadPoolExecutor(5) as writers:
            answers = list(writers.map(lambda page, tag=tag: area.put(1, page, headers={"If-Match": tag}), candidates))
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [204, 412, 412, 412, 412]
        current = candidates[statuses.index(204)]
        assert area.load(1) == current


def test_one_creator(area: Area) -> None:
    """Of several writers with If-None-Match: * one creates the page."""
    create = {"If-None-Match": "*"}
    for offset in range(8):
        candidates = [pages.compressible(n) for n in range(5)]
        with ThreadPoolExecutor(5) as writers:
            answers = list(writers.map(lambda page, at=offset: area.put(at, page, headers=create), candidates))
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [204, 412, 412, 412, 412]
        assert area.load(offset) == candidates[statuses.index(204)]
