"""Pages of foreign sites in a browser of this machine (contract 3.7), end to end through both doors."""

from __future__ import annotations

import pytest

from tests.harness.problems import check_problem
from tests.harness.raw_http import request
from tests.harness.service import Service

PAGE = bytes(range(256)) * 16
PATH = "/v1/pages/71/1"


def answer_to(service: Service, method: str, path: str, body: bytes | None, *headers: str, host: str | None = None):
    with service.raw() as raw:
        raw.send(request(method, path, body, *headers, host=host or f"127.0.0.1:{service.port}"))
        return raw.read(method)


@pytest.fixture
def kept(open_service: Service):
    """A page that must outlive what the test does."""
    assert answer_to(open_service, "PUT", PATH, PAGE).status == 204
    yield
    assert open_service.client.get(PATH).content == PAGE


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin: http://localhost:1",),
        ("Origin: http://127.0.0.1.evil.example",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
        ("Origin: http://127.0.0.1", "Sec-Fetch-Site: same-origin"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("DELETE", PATH), ("POST", PATH + "/take")])
def test_a_foreign_page_changes_nothing(
    open_service: Service, headers: tuple[str, ...], method: str, path: str
) -> None:
    """Whichever of the two headers the browser sends."""
    response = answer_to(open_service, method, path, bytes(4096) if method == "PUT" else None, *headers)
    check_problem(response, 403, "forbidden")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.nip.example:{port}", "192.0.2.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_rebound_name(open_service: Service, host: str, method: str) -> None:
    """A name that DNS leads here now is nobody's own: not even a load is answered."""
    host = host.format(port=open_service.port)
    response = answer_to(open_service, method, PATH, bytes(4096) if method == "PUT" else None, host=host)
    assert response.status == 403
    assert PAGE not in response.body


@pytest.mark.usefixtures("kept")
def test_a_form_cannot_send_json(open_service: Service) -> None:
    """The three media types that a page may send without asking are refused, and so is none."""
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = {"Content-Type": media_type} if media_type else {}
        for method, path in (("POST", "/v1/pages/71/invalidate"), ("PATCH", "/v1/parameters")):
            body = b'{"extents": [[1, 1]]}'
            response = open_service.client.request(method, path, content=body, headers=headers)
            check_problem(response, 415, "unsupported_media_type")


def test_a_preflight_is_not_answered(open_service: Service) -> None:
    """No CORS header ever: the browser does not send what it asks leave for."""
    headers = ("Origin: https://evil.example", "Access-Control-Request-Method: PUT")
    response = answer_to(open_service, "OPTIONS", PATH, None, *headers)
    assert response.status == 405
    assert not [name for name in response.by_name if name.startswith("access-control")]


def test_one_connection_may_serve_friend_and_foe(open_service: Service) -> None:
    """Each request is judged by its own headers, whatever came before it on its connection."""
    own = f"127.0.0.1:{open_service.port}"
    wire = b""
    for _ in range(5):
        wire += request("PUT", PATH, PAGE, host=own)
        wire += request("PUT", PATH, bytes(4096), "Origin: https://evil.example", host=own)
        wire += request("GET", PATH, None, host="evil.example")
        wire += request("GET", PATH, None, host=own)
    with open_service.raw() as raw:
        raw.send(wire)
        for _ in range(5):
            assert [raw.read().status for _ in range(3)] == [204, 403, 403]
            assert raw.read().body == PAGE
