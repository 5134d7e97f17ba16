"""Every error, the framework's own included, is a problem document."""

from __future__ import annotations

import json
import logging

import pytest

from app import errors
from app.api.error_responses import is_store_request, problem
from app.errors import BackendUnavailable, InternalError, MethodNotAllowed, PageMissing, PagepoolError, PoolFull
from app.settings import Settings
from tests.api.conftest import Api, assert_problem
from tests.api.fake_pool import FakePool

ALL_ERRORS = sorted(
    (
        class_
        for class_ in vars(errors).values()
        if isinstance(class_, type) and issubclass(class_, PagepoolError) and not class_.__subclasses__()
    ),
    key=lambda class_: class_.__name__,
)


@pytest.mark.parametrize("class_", ALL_ERRORS)
def test_every_error_has_a_document(class_: type[PagepoolError]) -> None:
    """Status, code, title and detail are told; previous is told of a store and of nothing else."""
    for is_store in (False, True):
        status, headers, body = problem(class_(), is_store=is_store)
        document = json.loads(body)
        sent = dict(headers)
        assert status == document["status"] == class_.status
        assert document["type"] == f"urn:pagepool:error:{class_.code}"
        assert {"title", "detail", "code"} <= document.keys()
        assert sent[b"content-length"] == b"%d" % len(body)
        assert sent[b"cache-control"] == b"no-store"
        assert (b"retry-after" in sent) == (class_.retry_after_seconds is not None)
        assert (b"connection" in sent) == class_.close_connection
        assert ("previous" in document) == is_store


def test_members_and_headers_of_an_error_are_sent() -> None:
    """What an error carries beside its class goes into the document and the head; it cannot replace the code."""
    error = PageMissing("Two are absent.", missing=[[3, 2]], code="else")
    _, _, body = problem(error, is_store=False)
    assert json.loads(body)["missing"] == [[3, 2]]
    assert json.loads(body)["code"] == "page_missing"
    refused = MethodNotAllowed()
    refused.headers["Allow"] = "GET"
    assert (b"allow", b"GET") in problem(refused, is_store=False)[1]


def test_previous_on_the_instance_wins() -> None:
    """An image write, which keeps what was there, says so though its class says otherwise."""
    error = PoolFull()
    error.previous = errors.Previous.KEPT
    assert json.loads(problem(error, is_store=True)[2])["previous"] == "kept"


def test_a_defect_leaves_unknown_what_became_of_a_store() -> None:
    """An internal error in a store cannot say more."""
    assert json.loads(problem(InternalError(), is_store=True)[2])["previous"] == "unknown"
    assert json.loads(problem(BackendUnavailable(), is_store=True)[2])["previous"] == "unknown"


@pytest.mark.parametrize(
    ("method", "path", "is_store"),
    [
        ("PUT", "/v1/pages/1/2", True),
        ("PUT", "/v1/frames/1/2", True),
        ("PUT", "/v1/types/1/image", True),
        ("POST", "/v1/pages/1/zero", True),
        ("PUT", "/v1/types/1", False),
        ("POST", "/v1/pages/1/invalidate", False),
        ("POST", "/v1/pages/1/2/take", False),
        ("POST", "/v1/frames/1/load", False),
        ("DELETE", "/v1/pages/1/2", False),
        ("GET", "/v1/pages/1/zero", False),
    ],
)
def test_which_requests_are_stores(method: str, path: str, is_store: bool) -> None:
    """PUT of pages, frames and images, and the ranged zero."""
    assert is_store_request(method, path) is is_store


@pytest.mark.parametrize(
    "target", ["/nope", "/v1", "/v1/types/", "/v1/types/1/", "//v1/types", "/v1//types", "/%2e%2e/v1/pool", "/docs"]
)
def test_unknown_paths_are_404(api: Api, target: str) -> None:
    """Nothing is redirected, guessed or normalised."""
    assert_problem(api.get(target), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("PATCH", "/v1/types/1", "DELETE, GET, HEAD, PUT"),
        ("POST", "/v1/types", "GET, HEAD"),
        ("DELETE", "/v1/parameters", "GET, HEAD, PATCH"),
        ("GET", "/v1/pages/1/invalidate", "POST"),
        ("DELETE", "/v1/pages/1/zero", "POST"),
        ("OPTIONS", "/v1/pool", "GET, HEAD"),
        ("TRACE", "/metrics", "GET, HEAD"),
        ("BREW", "/livez", "GET, HEAD"),
    ],
)
def test_wrong_methods_are_405_with_all_that_are_right(api: Api, method: str, target: str, allow: str) -> None:
    """Allow names the methods of every route with this path."""
    response = api.call(method, target)
    assert response.headers["allow"] == allow
    assert_problem(response, 405, "method_not_allowed")


@pytest.mark.parametrize("target", ["/livez", "/v1/pool", "/v1/types", "/metrics", "/openapi.json"])
def test_head_is_get_without_its_body(api: Api, target: str) -> None:
    """Whatever can be read can be asked about."""
    got, asked = api.get(target), api.call("HEAD", target)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert int(asked.headers["content-length"]) > 0


def test_a_defect_is_500_and_its_traceback_is_logged_with_the_request_id(
    api: Api, pool: FakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns the request id and nothing of the defect."""
    pool.defect = RuntimeError("secret of the house")
    response = api.get("/v1/pool", headers={"x-request-id": "abc-1"})
    assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "abc-1"
    failure = next(record for record in caplog.records if record.exc_info)
    assert failure.levelno == logging.ERROR


def test_bytes_of_a_request_are_not_repeated(api: Api) -> None:
    """A document shows neither the body's bytes nor a parameter's value."""
    headers = {"content-type": "application/json"}
    body = b'{"extents": [["p\xc3\xa4ssword", 1]], "secret": 1}'
    response = api.call("POST", "/v1/pages/1/zero", content=body, headers=headers)
    assert_problem(response, 422, "bad_parameter")
    assert "ssword" not in response.text
    response = api.get("/v1/types?limit=hunter2")
    assert "hunter2" not in response.text


def test_every_answer_bears_a_request_id(api: Api) -> None:
    """The client's own if it is sane; otherwise one of ours, each time another."""
    assert api.get("/livez", headers={"x-request-id": "A.b_c-9"}).headers["x-request-id"] == "A.b_c-9"
    made = {
        api.get(target, headers={"x-request-id": sent}).headers["x-request-id"]
        for target in ("/livez", "/nope", "/v1/types/x")
        for sent in ("", "two words", "x" * 129, 'q"uote')
    }
    assert len(made) == 12
    assert not {"", "two words", "x" * 129, 'q"uote'} & made


def test_a_foreign_host_is_refused_before_anything_else(api: Api) -> None:
    """The guards stand before routing."""
    assert_problem(api.get("/nope", headers={"host": "evil.example"}), 403, "forbidden")


def test_a_store_refused_by_a_guard_keeps_what_was_there(api: Api) -> None:
    """A guard's error on a store bears previous as well."""
    response = api.call("PUT", "/v1/pages/1/0", content=b"x", headers={"origin": "http://evil.example"})
    assert assert_problem(response, 403, "forbidden")["previous"] == "kept"


def test_allowed_hosts_come_from_the_settings() -> None:
    """PAGEPOOL_ALLOWED_HOSTS names hosts beside loopback's."""
    api = Api(Settings(_env_file=None, allowed_hosts="pool.example"))
    assert api.get("/livez", headers={"host": "POOL.example:8000"}).status_code == 200
    assert api.get("/livez", headers={"host": "localhost"}).status_code == 200
