"""GET of single pages (contract 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

KINDS = pages.of_each_kind()


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_headers_of_a_page(area: Area, kind: str) -> None:
    """A page comes as octet-stream, not to be transformed, with its ETag and its kind."""
    area.store(4, KINDS[kind])
    response = area.get(4)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-length"] == "4096"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["page-kind"] == kind
    assert response.headers["x-request-id"]


@pytest.mark.smoke
def test_an_absent_page(area: Area) -> None:
    """A miss is 404 `page_missing`, and says what is missing."""
    document = check_problem(area.get(9), 404, "page_missing")
    assert document["missing"] == [[9, 1]]


@pytest.mark.smoke
def test_an_absent_page_read_as_zeros(area: Area) -> None:
    """With missing=zero one absent page reads as zeros, of kind absent, without an ETag."""
    response = area.get(9, missing="zero")
    assert (response.status_code, response.content) == (200, pages.zero())
    assert response.headers["page-kind"] == "absent"
    assert response.headers["page-missing-count"] == "1"
    assert response.headers["page-missing"] == "9"
    assert "etag" not in response.headers


def test_a_present_page_read_with_missing_zero(area: Area) -> None:
    """With missing=zero a page that is present is answered as ever, and none is missing."""
    area.store(9, KINDS["raw"])
    response = area.get(9, missing="zero")
    assert response.content == KINDS["raw"]
    assert response.headers["page-kind"] == "raw"
    assert response.headers["etag"] == pages.etag(KINDS["raw"])
    assert response.headers.get("page-missing-count", "0") == "0"


def test_a_stored_zero_page_is_no_miss(area: Area) -> None:
    """A zero page that was stored is present: 200, of kind zero, with an ETag."""
    area.store(9, KINDS["zero"])
    response = area.get(9)
    assert (response.status_code, response.content) == (200, pages.zero())
    assert response.headers["etag"] == pages.etag(pages.zero())


@pytest.mark.parametrize("value", ["one", "", "zeros", "ZERO", "1"])
def test_missing_takes_one_word(area: Area, value: str) -> None:
    """`missing` is `zero`; anything else is refused rather than guessed at."""
    response = area.get(9, missing=value)
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)


@pytest.mark.smoke
@pytest.mark.parametrize("range_", ["bytes=0-9", "bytes=100-", "bytes=-5", "bytes=5000-6000", "nonsense"])
def test_range_is_ignored(area: Area, range_: str) -> None:
    """`Range` on pages is ignored."""
    area.store(4, KINDS["compressed"])
    response = area.get(4, headers={"Range": range_})
    assert (response.status_code, response.content) == (200, KINDS["compressed"])
    assert "content-range" not in response.headers


def test_a_load_does_not_remove(area: Area) -> None:
    """Plain GET never removes."""
    area.store(4, KINDS["compressed"])
    assert [area.load(4) for _ in range(3)] == [KINDS["compressed"]] * 3


@pytest.mark.parametrize("kind", pages.KINDS)
def test_accept_encoding_changes_nothing(area: Area, kind: str) -> None:
    """Page bytes are never content-coded, whatever the client would accept."""
    area.store(4, KINDS[kind])
    response = area.get(4, headers={"Accept-Encoding": "gzip, br, zstd"})
    assert "content-encoding" not in response.headers
    assert response.headers["content-length"] == "4096"
