"""Errors are problem documents, and checks go in a stated order (contract 2, 2.1)."""

import re

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import request

KINDS = pages.of_each_kind()
PAGE = KINDS["compressed"]


@pytest.mark.smoke
@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v2/pages/1/1", "/v1/page/1/1", "/v1/pages", "/v1/pages/1/1/2", "/v1/pages/1/1/give"]
)
def test_unknown_paths(client, path: str) -> None:
    """Unknown paths get 404 as a problem document."""
    if path == "/":
        path = "/no-such-path"
    check_problem(client.get(path), 404, "not_found")


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/pages/1/1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "/v1/pages/1/1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PUT", "/v1/pages/1/1/take", {"POST"}),
        ("GET", "/v1/pages/1/1/take", {"POST"}),
        ("DELETE", "/v1/frames/1/1", {"GET", "PUT"}),
        ("POST", "/v1/types/1", {"GET", "PUT", "DELETE"}),
        ("PUT", "/v1/types", {"GET"}),
        ("POST", "/v1/types/1/extents", {"GET"}),
        ("DELETE", "/v1/parameters", {"GET", "PATCH"}),
        ("POST", "/v1/pool", {"GET"}),
        ("DELETE", "/metrics", {"GET"}),
        ("PUT", "/livez", {"GET"}),
    ],
)
def test_wrong_methods(client, method: str, path: str, allowed: set[str]) -> None:
    """Wrong methods get 405 with `Allow`, as a problem document."""
    response = client.request(method, path)
    check_problem(response, 405, "method_not_allowed")
    says = {each.strip() for each in response.headers["allow"].split(",")}
    assert allowed <= says
    assert method not in says


@pytest.mark.parametrize("path", ["/v1/pages/1/invalidate", "/v1/pages/1/zero", "/v1/frames/1/load"])
def test_wrong_methods_of_calls_that_stand_where_an_offset_would(client, path: str) -> None:
    """A wrong method there is 405, or 422 since the word is no offset; it is never carried out."""
    response = client.get(path)
    assert response.status_code in {405, 422}
    check_problem(response, response.status_code)


@pytest.mark.smoke
def test_an_unknown_method(area: Area) -> None:
    """A method that HTTP does not know is refused, and nothing else of the connection is carried out."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send(request("BREW", area.url(1)))
        assert raw.read().status in {400, 405, 501}
    assert area.load(1) == PAGE


@pytest.mark.combination("door", "two-workers", "cluster")
@pytest.mark.parametrize("method", ["BREW", "get", "M-SEARCH", "X"])
def test_an_unknown_method_is_405(area: Area, method: str) -> None:
    """Behind the protocol door (stock uvicorn takes it for no HTTP), and the connection goes on."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        for index in range(2):
            raw.send(request(method, area.url(1), PAGE if index else None, "X-Request-ID: mine"))
            answer = raw.read()
            check_problem(answer, 405, "method_not_allowed")
            assert {"GET", "PUT"} <= set((answer.header("allow") or "").split(", "))
            assert answer.header("x-request-id") == "mine"
        raw.send(request("GET", area.url(1)))
        assert raw.read().body == PAGE


@pytest.mark.smoke
def test_request_id_is_echoed(area: Area) -> None:
    """Every response bears X-Request-ID: the client's own if it sent a sane one."""
    sane = {"X-Request-ID": "trace-0123_abc.DEF"}
    area.store(1, PAGE)
    answers = [
        area.get(1, headers=sane),
        area.get(2, headers=sane),
        area.put(1, PAGE, headers=sane),
        area.put(1, b"short", headers=sane),
        area.head(1, headers=sane),
        area.get(1, headers={**sane, "If-None-Match": "*"}),
        area.delete(1, headers=sane),
        *(area.client.get(path, headers=sane) for path in ("/livez", "/metrics", "/v1/pool", "/no/such/path")),
        area.client.post("/v1/pool", headers=sane),
    ]
    assert {answer.headers["x-request-id"] for answer in answers} == {"trace-0123_abc.DEF"}


@pytest.mark.parametrize("value", ["", "x" * 5000, 'a"b', "a b", "<script>", "é"])
def test_an_odd_request_id_is_replaced(area: Area, value: str) -> None:
    """An X-Request-ID that is empty, long or odd is replaced by one of the service's own."""
    response = area.get(1, headers={"X-Request-ID": value.encode()})
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", response.headers["x-request-id"])


@pytest.mark.smoke
def test_request_ids_differ(area: Area) -> None:
    """Without one from the client each response has an X-Request-ID of its own."""
    assert len({area.get(1).headers["x-request-id"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "bad_page_length"),
        (PAGE[:-1], {}, 400, "bad_page_length"),
        (PAGE + b"\xff", {}, 400, "bad_page_length"),
        (PAGE, {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (PAGE, {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (PAGE, {"Content-Range": "bytes 0-4095/4096"}, 400, None),
        (PAGE, {"If-Match": '"0123456789abcdef"'}, 412, "precondition_failed"),
        (PAGE, {"If-None-Match": "*"}, 412, "precondition_failed"),
        (PAGE * 2, {"If-None-Match": "*"}, 422, None),
        (PAGE * 513, {}, 413, "extent_too_large"),
    ],
)
def test_a_malformed_store_changes_nothing(area: Area, body: bytes, headers, status: int, code: str | None) -> None:
    """A store that is refused with any 4xx says `previous: kept`, and what was there is there."""
    area.store(1, KINDS["same"])
    before = area.service.metrics()
    check_problem(area.put(1, body, headers=headers), status, code, "kept")
    assert area.load(1) == KINDS["same"]
    assert not any(name.startswith(("stores", "rejects")) for name in area.service.metrics().since(before))


@pytest.mark.parametrize("body", [b"SECRETSECRET" * 100, b"\xffSECRET\x80" * 1000, b"SECRET"])
@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/json", "text/plain"])
def test_errors_never_show_page_bytes(area: Area, body: bytes, media_type: str) -> None:
    """Page bytes never appear in an error, nor in a log."""
    response = area.put(1, body, headers={"Content-Type": media_type})
    assert response.status_code in {400, 415}
    assert b"SECRET" not in response.content
    assert "SECRET" not in str(response.headers)
    for call in (area.client.patch("/v1/parameters", content=body, headers={"Content-Type": "application/json"}),):
        assert call.status_code in {400, 422}
        assert b"SECRET" not in call.content
    assert "SECRET" not in area.service.log_text()


@pytest.mark.smoke
def test_address_is_checked_before_the_media_type(area: Area) -> None:
    """Order of checks: 422 address before 415."""
    response = area.client.put(f"/v1/pages/{area.type}/01", content=PAGE, headers={"Content-Type": "text/plain"})
    check_problem(response, 422, "bad_address", "kept")


def test_address_is_checked_before_the_media_type_of_json(client) -> None:
    """The order is that of the calls with pages."""
    for method, path in (
        ("POST", "/v1/pages/2147483648/zero"),
        ("POST", "/v1/pages/a/invalidate"),
        ("POST", "/v1/frames/x/load"),
        ("PUT", "/v1/types/01"),
        ("POST", "/v1/types/x/shrink"),
    ):
        check_problem(client.request(method, path, content=b"{}"), 422, "bad_address")


@pytest.mark.smoke
def test_media_type_is_checked_before_the_length(area: Area) -> None:
    """Order of checks: 415 before 413 and 400."""
    for body in (b"short", bytes(513 * 4096)):
        check_problem(area.put(1, body, headers={"Content-Type": "text/plain"}), 415, None, "kept")


def test_length_is_checked_before_preconditions(area: Area) -> None:
    """Order of checks: 413 and 400 before 412."""
    absent = {"If-Match": '"0123456789abcdef"'}
    check_problem(area.put(1, PAGE[:-1], headers=absent), 400, "bad_page_length", "kept")
    check_problem(area.put(1, bytes(513 * 4096), headers=absent), 413, "extent_too_large", "kept")


@pytest.mark.smoke
def test_preconditions_are_checked_before_disabled_stores(area: Area, tune) -> None:
    """Order of checks: 412 before 503 stores_disabled, and 412 changes nothing."""
    area.store(1, PAGE)
    tune(enabled=False)
    check_problem(area.put(1, PAGE, headers={"If-None-Match": "*"}), 412, "precondition_failed", "kept")
    assert area.load(1) == PAGE


def test_malformed_stores_while_disabled(area: Area, tune) -> None:
    """Order of checks: every 4xx before 503 stores_disabled, and it changes nothing."""
    area.store(1, PAGE)
    tune(enabled=False)
    check_problem(area.put(1, PAGE[:-1]), 400, "bad_page_length", "kept")
    check_problem(area.put(1, PAGE, headers={"Content-Type": "text/plain"}), 415, None, "kept")
    check_problem(area.put(1, bytes(513 * 4096)), 413, "extent_too_large", "kept")
    assert area.load(1) == PAGE


def test_disabled_is_checked_before_full(area: Area, tune) -> None:
    """Order of checks: 503 stores_disabled before 507."""
    area.store(1, PAGE)
    tune(enabled=False, max_pool_bytes=1)
    check_problem(area.put(1, PAGE), 503, "stores_disabled", "invalidated")
    tune(max_stored_pages=0)
    check_problem(area.put(1, PAGE), 503, "stores_disabled", "invalidated")


@pytest.mark.smoke
def test_preconditions_are_checked_before_the_limit(area: Area, tune) -> None:
    """412 wins over 507 and changes nothing."""
    area.store(1, PAGE)
    tune(max_pool_bytes=1)
    check_problem(area.put(1, KINDS["raw"], headers={"If-None-Match": "*"}), 412, "precondition_failed", "kept")
    assert area.load(1) == PAGE


def test_a_precondition_that_holds_does_not_open_a_full_pool(area: Area, tune) -> None:
    """A store whose precondition holds is admitted or refused as any other, and the stale copy goes."""
    area.store(1, PAGE)
    tune(max_pool_bytes=1)
    response = area.put(1, KINDS["raw"], headers={"If-Match": pages.etag(PAGE)})
    check_problem(response, 507, "pool_full", "invalidated")
    assert area.is_absent(1)
