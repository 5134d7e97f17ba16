"""What one client may take of the service: time, bytes, requests at once. More on the door: tests/serve/test_door."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.problems import check_problem
from tests.harness.raw_http import RawConnection, request
from tests.harness.redis_server import until
from tests.harness.service import Service
from tests.strangers.conftest import DOORS, bearer, secret

PAGE = bytes(range(256)) * 16
OCTETS = "Content-Type: application/octet-stream"
JSON = "Content-Type: application/json"
PATH = "/v1/pages/72/1"


def begun(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


UNFINISHED = {
    "a store": begun("PUT", PATH, OCTETS, "Content-Length: 4096") + PAGE[:-1],
    "a store without a byte of its body": begun("PUT", PATH, OCTETS, "Content-Length: 4096"),
    "a chunked store": begun("PUT", PATH, OCTETS, "Transfer-Encoding: chunked") + b"1000\r\n" + PAGE[:100],
    "a chunked store without its end": begun("PUT", PATH, OCTETS, "Transfer-Encoding: chunked") + b"1\r\nx\r\n",
    "frames": begun("PUT", "/v1/frames/72/1", OCTETS, "Content-Length: 100"),
    "JSON": begun("POST", "/v1/pages/72/invalidate", JSON, "Content-Length: 30") + b"{",
    "a type's configuration": begun("PUT", "/v1/types/72", JSON, "Transfer-Encoding: chunked") + b"1\r\n{\r\n",
}


@pytest.mark.parametrize("what", UNFINISHED)
def test_a_body_that_stops(open_service: Service, what: str) -> None:
    """408 and the end of the connection, through either door; a store says that the page is as it was."""
    began = time.monotonic()
    with open_service.raw() as raw:
        raw.send(UNFINISHED[what])
        response = raw.read()
        document = check_problem(response, 408, "request_timeout")
        assert response.says_close
        assert raw.is_closed()
    assert time.monotonic() - began < 8
    if "store" in what or what == "frames":
        assert document["previous"] == "kept"


def test_a_body_that_is_refused_need_not_come(open_service: Service) -> None:
    """What is refused by its head is answered at once, not when the body has come."""
    for method, path, lines in (
        ("PUT", PATH, (OCTETS, "Content-Length: 1000000000")),
        ("PUT", PATH, ("Content-Type: text/plain", "Content-Length: 4096")),
        ("POST", "/v1/pages/72/invalidate", (JSON, "Content-Length: 1000000000")),
    ):
        with open_service.raw() as raw:
            raw.send(begun(method, path, *lines))
            assert raw.read().status in {413, 415}


def test_a_body_is_counted_as_it_comes(open_service: Service) -> None:
    """A chunked body without an end is cut off once it is too long, and so is JSON."""
    for path, media, code in ((PATH, OCTETS, "extent_too_large"), ("/v1/pages/72/zero", JSON, "range_too_large")):
        with open_service.raw() as raw:
            raw.send(begun("PUT" if path == PATH else "POST", path, media, "Transfer-Encoding: chunked"))
            piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            sent = 0
            while raw.is_quiet(0) and sent < 64 << 20:
                if not raw.send_while_taken(piece):
                    break
                sent += len(piece)
            assert sent < 64 << 20
            check_problem(raw.read(), 413, code)


ENDLESS = {
    "trailers": (b"1000\r\n" + PAGE + b"\r\n0\r\n", b"X-Y: zzzzzzzz\r\n" * 1000),
    "a trailer": (b"1000\r\n" + PAGE + b"\r\n0\r\nX: ", b"z" * 10_000),
    "a chunk's extension": (b"1000;", b"z" * 10_000),
    "a chunk's size": (b"", b"0" * 10_000),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_is_neither_head_nor_body(open_service: Service, what: str) -> None:
    """What stands between and behind a body's chunks is bounded as a head is: 4xx, and closed (the protocol door)."""
    if open_service.settings["door"] == "asgi":
        pytest.skip("stock uvicorn has no such limit: docs/reference/security.md")
    start, more = ENDLESS[what]
    with open_service.raw() as raw:
        raw.send(begun("PUT", PATH, OCTETS, "Transfer-Encoding: chunked") + start)
        sent = 0
        while raw.is_quiet(0) and sent < 64 << 20 and raw.send_while_taken(more):
            sent += len(more)
        assert sent < 64 << 20
        assert raw.read().status in {400, 431}
        assert raw.is_closed()


def test_trailers_are_passed_over(open_service: Service) -> None:
    """A few behind a body change nothing of it, and are no header fields of its request (the protocol door)."""
    if open_service.settings["door"] == "asgi":
        pytest.skip("stock uvicorn takes trailers for header fields: docs/reference/security.md")
    with open_service.raw() as raw:
        body = b"1000\r\n" + PAGE + b"\r\n0\r\nIf-Match: none\r\nContent-Type: text/plain\r\n\r\n"
        raw.send(begun("PUT", PATH, OCTETS, "Transfer-Encoding: chunked") + body + request("GET", PATH))
        assert raw.read().status == 204
        assert raw.read().body == PAGE


@pytest.fixture(scope="module", params=DOORS)
def small(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that may hold 2 MiB."""
    with Service(door=request.param, max_bytes_in_flight=str(2 << 20), max_extent_pages="16") as service:
        yield service


def test_json_bodies_are_bytes_in_flight(small: Service) -> None:
    """They are counted as they come, for what they take once parsed; past the bound one is 503, and none when it ends.

    One byte of `[[0,1],[0,1],…` makes some thirty of lists.
    """
    many = b'{"extents": [' + b"[0,1]," * 20_000
    zero = begun("POST", "/v1/pages/72/zero", JSON, "Transfer-Encoding: chunked")
    with ExitStack() as stack:

        def is_full() -> bool:
            if status_of(small, "nobody") == 503:
                return True
            # Four fill it; one that comes beside the question above is refused, and is made up for.
            raw = stack.enter_context(small.raw())
            raw.send(zero + b"%x\r\n%b\r\n" % (len(many), many))
            return False

        until(is_full, 5, "nothing more may be held")
        with small.raw() as one_more:
            one_more.send(zero + b"2\r\n{}\r\n0\r\n\r\n")
            document = check_problem(one_more.read(), 503, "overloaded")
            assert document["previous"] == "kept"
    until(lambda: status_of(small, "nobody") == 404, 5, "what they held is let go")
    whole = small.client.post("/v1/pages/72/zero", content=many + b"[5,1]]}", headers={"Content-Type": JSON[14:]})
    assert whole.json() == {"zeroed": 20_001}


def heads_that_drip(service: Service, stack: ExitStack, count: int) -> list[RawConnection]:
    connections = [stack.enter_context(service.raw()) for _ in range(count)]
    for number, raw in enumerate(connections):
        # Some have been served before: uvicorn's parser has them then.
        if number % 2:
            raw.send(request("GET", "/livez"))
            assert raw.read().status == 200
        raw.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    return connections


def test_heads_that_never_end(open_service: Service) -> None:
    """Each has its time from its first byte on: 408, and the others are served meanwhile (the protocol door)."""
    if open_service.settings["door"] == "asgi":
        pytest.skip("stock uvicorn has no such limit: docs/reference/security.md")
    with ExitStack() as stack:
        connections = heads_that_drip(open_service, stack, 50)
        ended: list[RawConnection] = []
        deadline = time.monotonic() + 10
        while len(ended) < len(connections) and time.monotonic() < deadline:
            for raw in connections:
                if raw not in ended and (not raw.send_while_taken(b"x") or not raw.is_quiet(0)):
                    ended.append(raw)
            assert open_service.client.get("/livez").status_code == 200
            time.sleep(0.1)
        assert len(ended) == len(connections)
        assert all(raw.received_before_close().startswith(b"HTTP/1.1 408 ") for raw in connections)


@pytest.mark.parametrize("line", ["GET /livez?{} HTTP/1.1", "GET /{} HTTP/1.1", "GET /livez HTTP/1.1\r\nX: {}"])
def test_a_head_that_is_too_long(open_service: Service, line: str) -> None:
    """431, be it the path, the query or a header, with its end or without (the protocol door)."""
    if open_service.settings["door"] == "asgi":
        pytest.skip("stock uvicorn has no such limit: docs/reference/security.md")
    for end in ("\r\nHost: localhost\r\n\r\n", ""):
        for before in (b"", request("GET", "/livez")):
            with open_service.raw() as raw:
                raw.send(before)
                raw.send_while_taken(line.format("x" * 20_000).encode() + end.encode())
                if before:
                    assert raw.read().status == 200
                check_problem(raw.read(), 431, "head_too_large")
                assert raw.is_closed()


def test_an_idle_connection(open_service: Service) -> None:
    """Is closed after PAGEPOOL_KEEP_ALIVE_TIMEOUT, and not before."""
    with open_service.raw() as plain, open_service.raw() as other:
        plain.send(request("GET", PATH))
        other.send(request("GET", "/livez"))
        plain.read()
        other.read()
        assert plain.is_quiet(1.5)
        assert other.is_quiet(0.1)
        assert plain.is_closed()
        assert other.is_closed()


# Requests at once


@pytest.fixture(scope="module", params=DOORS)
def narrow(request: pytest.FixtureRequest, tokens_file: Path) -> Iterator[Service]:
    """A service where a token may have two requests under way, and all tokens together four."""
    with Service(
        door=request.param, tokens_file=str(tokens_file), max_requests_per_token="2", max_requests_in_flight="4"
    ) as service:
        yield service


def hold(service: Service, stack: ExitStack, token: str, kind: str) -> RawConnection:
    """A request that is under way until its connection ends."""
    raw = stack.enter_context(service.raw())
    raw.send(UNFINISHED[kind].replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {secret(token)}\r\n\r\n".encode(), 1))
    return raw


def under_way(service: Service) -> float:
    """Requests that the service works on, beside the one that asks."""
    return service.metrics().value("pagepool_requests_in_flight") - 1


def status_of(service: Service, token: str, path: str = PATH) -> int:
    response = service.client.get(path, headers=bearer(token))
    if response.status_code == 503:
        check_problem(response, 503, "overloaded")
    return response.status_code


@pytest.mark.parametrize("kind", ["a store", "a chunked store", "JSON"])
def test_requests_of_one_token_at_once(narrow: Service, kind: str) -> None:
    """Past its bound a token is 503 `overloaded`, and may retry; other tokens are served."""
    with ExitStack() as stack:
        for _ in range(2):
            hold(narrow, stack, "write", kind)
        until(lambda: under_way(narrow) == 2, 5, "both are under way")
        for path in (PATH, "/v1/pool"):
            assert status_of(narrow, "write", path) == 503
            assert status_of(narrow, "read", path) in {200, 404}
        assert status_of(narrow, "write", "/livez") == 200
    until(lambda: under_way(narrow) == 0, 5, "they are no longer under way")
    assert status_of(narrow, "write") == 404


@pytest.mark.parametrize("kind", ["a store", "a chunked store"])
def test_requests_at_once(narrow: Service, kind: str) -> None:
    """Past the bound of all, everybody is 503 `overloaded`; health and metrics are answered."""
    with ExitStack() as stack:
        for token in ("write", "write", "admin", "admin"):
            hold(narrow, stack, token, kind)
        until(lambda: under_way(narrow) == 4, 5, "all are under way")
        assert status_of(narrow, "read") == 503
        for path in ("/livez", "/readyz", "/metrics"):
            assert status_of(narrow, "read", path) == 200
        assert narrow.metrics().value("pagepool_overloaded_total") >= 1
    until(lambda: status_of(narrow, "read") == 404, 5, "they are no longer under way")


def test_connections_at_once(start_service: Callable[..., Service]) -> None:
    """Past the bound a connection is told so and closed (the protocol door)."""
    service = start_service(max_connections="5")
    service.client.close()
    with ExitStack() as stack:
        for _ in range(5):
            raw = stack.enter_context(service.raw())
            raw.send(request("GET", "/livez"))
            last = raw.read()
        assert last.status in {200, 503}
        with service.raw() as one_more:
            check_problem(one_more.read(), 503, "overloaded")
            assert one_more.is_closed()

    def is_served() -> bool:
        with service.raw() as raw:
            raw.send(request("GET", "/livez"))
            return raw.read().status == 200

    until(is_served, 5, "there is room again")


def test_bodies_of_errors_alone(small: Service) -> None:
    """A JSON body that is wrong in a hundred thousand places is refused for the first of them."""
    bodies = {
        "/v1/pages/72/zero": b'{"extents": [' + b'["a"],' * 100_000 + b"[0,1]]}",
        "/v1/pages/72/invalidate": b"{" + b",".join(b'"k%d":1' % number for number in range(60_000)) + b"}",
    }
    for path, body in bodies.items():
        response = small.client.post(path, content=body, headers={"Content-Type": JSON[14:]})
        document = check_problem(response, 422, "bad_parameter")
        assert len(document["detail"]) < 200


def test_extents_that_say_the_same(small: Service) -> None:
    """A hundred thousand extents cost what their pages do: what is named again is not looked for again."""
    assert small.client.put("/v1/pages/77/100", content=PAGE, headers={"Content-Type": OCTETS[14:]}).status_code == 204
    body = b'{"extents": [' + b"[0,99999]," * 50_000 + b"[100,1]," * 50_000 + b"[3,1]]}"
    response = small.client.post("/v1/pages/77/invalidate", content=body, headers={"Content-Type": JSON[14:]})
    assert response.json() == {"invalidated": 1}
