"""Any bytes at all against the listening socket: an answer or a close within a bound, in order, and never a 500."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.harness.raw_http import BrokenAnswer, RawConnection, RawResponse, chunked, request
from tests.harness.service import Service

SECONDS = 10.0
LIMITS = {"header_timeout": "1.0", "progress_timeout": "1.0", "keep_alive_timeout": "1.0"}
TYPE = 74
PAGES = [bytes(4096), b"\x11" * 4096, bytes(range(256)) * 16]
OCTETS = "Content-Type: application/octet-stream"
JSON = "Content-Type: application/json"
TRIES = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def tries(pytestconfig: pytest.Config) -> int:
    """How many streams a test tries."""
    number: int = pytestconfig.getoption("--raw-examples")
    return number


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, Service]]:
    """The same service twice, through either door."""
    with (
        Service(door="protocol", max_pool_bytes="0", max_extent_pages="16", **LIMITS) as protocol,
        Service(door="asgi", max_pool_bytes="0", max_extent_pages="16", **LIMITS) as asgi,
    ):
        yield {"protocol": protocol, "asgi": asgi}


def everything(service: Service, pieces: list[bytes], *, ends: bool) -> bytes:
    """All that comes back; with `ends` the client says that it sends no more."""
    with RawConnection(("127.0.0.1", service.port), SECONDS) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        for piece in pieces:
            if not raw.send_while_taken(piece):
                break
        if ends:
            with contextlib.suppress(OSError):  # closed from the other side already
                raw.half_close()
        received = raw.received_before_close()
        assert time.monotonic() - began < SECONDS
        return received


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]


# Bytes of any kind

TOKENS = [
    b"GET", b"PUT", b"HEAD", b"DELETE", b"POST", b"PATCH", b"OPTIONS", b"CONNECT", b" ", b"\t", b"\r\n", b"\n", b"\r",
    b"\0", b"/", b"/v1/pages/74/1", b"/v1/frames/74/1", b"/v1/types/74/image", b"/v1/pool", b"/livez",
    b"/v1/pages/74/1/take",
    b"?count=2", b"?", b"#", b"%00", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"Host: localhost\r\n",
    b"Host: evil.example\r\n", b"Content-Length: 4096\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Type: application/octet-stream\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"1000\r\n",
    b"5\r\nhello\r\n", b"Range: bytes=0-5\r\n", b"If-Match: *\r\n", b"Authorization: Bearer x\r\n", b": ", b"X",
    b"\xff",
    PAGES[2], b'{"extents": [[0, 1]]}', b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01",
]  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(TOKENS), max_size=20).map(b"".join),
    st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=20).map(b"".join),
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", ["protocol", "asgi"])
def test_any_bytes(doors: dict[str, Service], door: str, tries: int) -> None:
    """What comes back is HTTP, and no 500; the service goes on."""

    @settings(TRIES, max_examples=tries)
    @example(data=b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", places=[])
    @example(data=b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", places=[])
    @example(data=b"GET \xff HTTP/1.1\r\nHost: localhost\r\n\r\n", places=[])
    @example(data=b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n", places=[])
    @given(data=BYTES, places=st.lists(st.integers(0, 5000), max_size=3))
    def attempt(data: bytes, places: list[int]) -> None:
        received = everything(doors[door], cut(data, places), ends=True)
        check_answers(received)

    attempt()
    assert doors[door].client.get("/livez").status_code == 200
    assert not [line for line in doors[door].log_text().splitlines() if '"level": "error"' in line]


def check_answers(received: bytes) -> None:
    """They are HTTP, and none is a 500."""
    assert b"HTTP/1.1 500" not in received
    assert not received or received.startswith(b"HTTP/1.1 ")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", ["protocol"])
def test_nothing_hangs(doors: dict[str, Service], door: str, tries: int) -> None:
    """A client that sends what it likes and then waits is sent away: no bytes keep a connection (the protocol door)."""

    @settings(TRIES, max_examples=tries // 7)
    @example(data=b"\r\n\r\n")
    @example(data=b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
    @example(data=b"PUT /v1/pages/74/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    @example(data=b"PUT /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
    @given(data=BYTES)
    def attempt(data: bytes) -> None:
        check_answers(everything(doors[door], [data], ends=False))

    attempt()


# Pipelines of requests, against the other door

PATHS = st.sampled_from([f"/v1/pages/{TYPE}/{offset}" for offset in (0, 1, 2, 7)])
EXTENTS = '{"extents": [[0, 2]]}'


def json_call(method: str, path: str, text: str) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
    )


def put_chunked(path: str, body: bytes, *more: str) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: localhost", OCTETS, "Transfer-Encoding: chunked", *more, "", ""]
    return "\r\n".join(lines).encode() + chunked(body, 1000)


BODIES = st.one_of(
    st.sampled_from(PAGES), st.sampled_from([PAGES[2] * 3, PAGES[0] * 16, PAGES[1] * 17, b"", b"short", PAGES[2][:-1]])
)
FIELDS = st.lists(
    st.sampled_from(
        [
            "If-Match: *", "If-None-Match: *", 'If-Match: "0000000000000000"', "If-Match: nonsense",
            "X-Request-ID: mine",
            "Origin: http://evil.example", "Sec-Fetch-Site: same-origin", "Content-Encoding: gzip", "X-Odd:  blanks \t",
            "Accept: */*", "Content-Range: bytes 0-1/2", "Connection: keep-alive", "Connection: Keep-Alive, TE",
            "Upgrade: h2c", "Host2: x", "Cookie: a=b", "Transfer-Encoding2: chunked",
        ]
    ),
    max_size=2,
)  # fmt: skip
REQUESTS = st.one_of(
    st.builds(lambda path, body, fields: ("PUT", request("PUT", path, body, *fields)), PATHS, BODIES, FIELDS),
    st.builds(lambda path, fields: ("GET", request("GET", path, None, *fields)), PATHS, FIELDS),
    st.builds(lambda path, fields: ("HEAD", request("HEAD", path, None, *fields)), PATHS, FIELDS),
    st.builds(lambda path, fields: ("DELETE", request("DELETE", path, None, *fields)), PATHS, FIELDS),
    st.builds(lambda path: ("POST", request("POST", path + "/take")), PATHS),
    st.builds(lambda path, body: ("PUT", put_chunked(path, body)), PATHS, BODIES),
    st.builds(lambda path: ("GET", request("GET", path + "?count=3&missing=zero")), PATHS),
    st.builds(lambda path: ("GET", request("GET", path.replace("pages", "frames") + "?count=4")), PATHS),
    st.sampled_from(
        [
            ("GET", request("GET", "/livez")),
            ("GET", request("GET", "/nothing")),
            ("HEAD", request("HEAD", "/livez")),
            ("PATCH", request("PATCH", "/v1/pool")),
            ("GET", request("GET", f"/v1/types/{TYPE}")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/01")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/%31")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/99999999999999999999")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/1?count=0")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/1?count=1&count=2")),
            ("GET", request("GET", f"/v1/pages/{TYPE}/1", None, host="evil.example")),
            ("POST", json_call("POST", f"/v1/pages/{TYPE}/invalidate", EXTENTS)),
            ("POST", json_call("POST", f"/v1/pages/{TYPE}/zero", EXTENTS)),
            ("POST", json_call("POST", f"/v1/pages/{TYPE}/zero", "{")),
            ("POST", json_call("POST", f"/v1/frames/{TYPE}/load", EXTENTS)),
            ("DELETE", request("DELETE", f"/v1/types/{TYPE}")),
        ]
    ),
)
COMPARED = (
    "etag", "page-kind", "page-counts", "page-stored-length", "page-missing", "page-missing-count", "content-type",
    "content-length", "cache-control", "retry-after", "allow", "connection",
)  # fmt: skip


def answers(service: Service, methods: list[str], pieces: list[bytes]) -> list[RawResponse | None]:
    """What comes back for each request; None for those behind the end of the connection."""
    service.client.delete(f"/v1/types/{TYPE}")
    found: list[RawResponse | None] = []
    with RawConnection(("127.0.0.1", service.port), SECONDS) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            if not raw.send_while_taken(piece):
                break
        for method in methods:
            try:
                found.append(raw.read(method))
            except (BrokenAnswer, ConnectionError):
                found += [None] * (len(methods) - len(found))
                break
    return found


def shown(response: RawResponse | None) -> tuple[object, ...]:
    if response is None:
        return ()
    return response.status, response.body, *(response.header(name) for name in COMPARED)


@pytest.mark.timeout(3600)
def test_both_doors_answer_alike(doors: dict[str, Service], tries: int) -> None:
    """Whatever mixture is pipelined, however it is cut: the same answers, in order, from either door."""

    @settings(TRIES, max_examples=tries)
    @given(asked=st.lists(REQUESTS, min_size=1, max_size=8), places=st.lists(st.integers(0, 60_000), max_size=4))
    def attempt(asked: list[tuple[str, bytes]], places: list[int]) -> None:
        methods = [method for method, _ in asked]
        pieces = cut(b"".join(wire for _, wire in asked), places)
        protocol, asgi = (answers(doors[door], methods, pieces) for door in ("protocol", "asgi"))
        assert [shown(answer) for answer in protocol] == [shown(answer) for answer in asgi]
        assert protocol[0] is not None
        assert all(answer is None or answer.status != 500 for answer in protocol)

    attempt()
