"""HEAD of pages (contract 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.raw_http import request

KINDS = pages.of_each_kind()
VARYING = {"date", "x-request-id", "page-stored-length", "server"}


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_head_is_get_without_a_body(area: Area, kind: str) -> None:
    """HEAD answers with the headers of GET and no body."""
    area.store(4, KINDS[kind])
    head, get = area.head(4), area.get(4)
    assert (head.status_code, head.content) == (200, b"")
    plain = {name: value for name, value in get.headers.items() if name not in VARYING}
    assert {name: value for name, value in head.headers.items() if name not in VARYING} == plain


@pytest.mark.smoke
def test_stored_length(area: Area) -> None:
    """`Page-Stored-Length` is what the page adds to pool_bytes, 0 for zero."""
    for kind, page in KINDS.items():
        before = area.numbers()["pool_bytes"]
        area.store(pages.KINDS.index(kind), page)
        added = area.numbers()["pool_bytes"] - before
        assert area.head(pages.KINDS.index(kind)).headers["page-stored-length"] == str(added)
        assert (added == 0) == (kind == "zero")


@pytest.mark.smoke
def test_head_of_an_absent_page(area: Area) -> None:
    """HEAD of an absent page is 404, with no body on the wire."""
    with area.service.raw() as raw:
        raw.send(request("HEAD", area.url(4)) + request("GET", "/livez"))
        assert raw.read("HEAD").status == 404
        assert raw.read().status == 200


def test_head_of_an_absent_page_read_as_zeros(area: Area) -> None:
    """HEAD honours missing=zero as GET does."""
    response = area.head(4, missing="zero")
    assert response.status_code == 200
    assert response.headers["page-kind"] == "absent"
    assert "etag" not in response.headers


def test_head_of_an_extent(area: Area) -> None:
    """HEAD of an extent says its length, and a missing page in it is 404."""
    area.store(0, *KINDS.values())
    response = area.head(0, count=4)
    assert (response.status_code, response.headers["content-length"]) == (200, str(4 * 4096))
    assert "etag" not in response.headers
    assert area.head(0, count=5).status_code == 404
    assert area.head(0, count=5, missing="zero").headers["page-missing-count"] == "1"


def test_head_of_a_malformed_address(area: Area) -> None:
    """HEAD checks the address as GET does."""
    assert area.client.head(f"/v1/pages/{area.type}/01").status_code == 422
