"""HTTP/1.1 as others send it: keep-alive, pipelines, HTTP/1.0, and the shapes that smugglers use."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import RawConnection, chunked, request

PAGE, OTHER = pages.incompressible(1), pages.compressible(2)
OCTETS = "Content-Type: application/octet-stream"


def answers_on_a_new_connection(area: Area) -> bool:
    with area.service.raw() as raw:
        raw.send(request("GET", "/livez"))
        return raw.read().status == 200


def head(method: str, target: str, *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode("latin-1")


@pytest.mark.smoke
def test_keep_alive(area: Area) -> None:
    """A connection serves one request after another, errors between them."""
    with area.service.raw() as raw:
        for index in range(20):
            raw.send(request("PUT", area.url(index), PAGE))
            assert raw.read().status == 204
            raw.send(request("PUT", area.url(index), b"short"))
            check_problem(raw.read(), 400, "bad_page_length")
            raw.send(request("GET", area.url(index)))
            assert raw.read().body == PAGE
            raw.send(request("GET", area.url(100)))
            assert raw.read().status == 404
            raw.send(request("HEAD", area.url(index)))
            assert raw.read("HEAD").status == 200


@pytest.mark.smoke
def test_pipelined_requests_are_answered_in_order(area: Area) -> None:
    """Pipelined requests are answered in order, whichever part of the service answers them."""
    body = pages.mixed(30, seed=5)
    asked: list[tuple[str, str]] = []
    wire = b""
    for index, page in enumerate(body):
        wire += request("PUT", area.url(index), page)
        wire += request("GET", area.url(index))
        wire += request("GET", "/v1/parameters", None, f"X-Request-ID: n{index}")
        wire += request("HEAD", area.url(index))
        wire += request("GET", f"{area.url(0)}?count={index + 1}")
        wire += request("GET", area.url(1000 + index))
        asked += [("PUT", ""), ("GET", "page"), ("GET", "json"), ("HEAD", ""), ("GET", "extent"), ("GET", "miss")]
    with area.service.raw() as raw:
        raw.send(wire)
        answers = [(raw.read(method), what) for method, what in asked]
    for index, page in enumerate(body):
        put, get, parameters, head_, extent, miss = (answer for answer, _ in answers[index * 6 : index * 6 + 6])
        assert put.status == 204
        assert get.body == page
        assert (parameters.status, parameters.header("x-request-id")) == (200, f"n{index}")
        assert head_.header("etag") == pages.etag(page)
        assert extent.body == b"".join(body[: index + 1])
        assert check_problem(miss, 404)["missing"] == [[1000 + index, 1]]


@pytest.mark.smoke
def test_a_store_before_a_load_in_one_pipeline(area: Area) -> None:
    """A pipelined load sees the store that stands before it."""
    with area.service.raw() as raw:
        for number in range(30):
            page = pages.compressible(number)
            raw.send(request("PUT", area.url(1), page) + request("GET", area.url(1)))
            assert raw.read().status == 204
            assert raw.read().body == page


def test_a_pipeline_in_single_bytes(area: Area) -> None:
    """A pipeline is the same when its segments are single bytes."""
    area.store(1, PAGE)
    wire = request("GET", area.url(1)) + request("GET", "/livez") + request("GET", area.url(2))
    with area.service.raw() as raw:
        for at in range(len(wire)):
            raw.send(wire[at : at + 1])
        assert raw.read().body == PAGE
        assert raw.read().status == 200
        assert raw.read().status == 404


def test_a_long_pipeline(area: Area) -> None:
    """A pipeline of any length is answered whole when its client reads while it sends."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        for _ in range(20):
            raw.send(request("GET", area.url(1)) * 50)
            for _ in range(50):
                assert raw.read().body == PAGE


@pytest.mark.smoke
def test_connection_close(area: Area) -> None:
    """`Connection: close` is honoured."""
    area.store(1, PAGE)
    for path in (area.url(1), area.url(2), "/livez"):
        with area.service.raw() as raw:
            raw.send(request("GET", path, None, "Connection: close"))
            assert raw.read().says_close
            assert raw.is_closed()


@pytest.mark.smoke
def test_http_1_0(area: Area) -> None:
    """An HTTP/1.0 client is answered and the connection closed; with no Host it is answered as well, or refused."""
    area.store(1, PAGE)
    for path, body in ((area.url(1), PAGE), ("/livez", None)):
        with area.service.raw() as raw:
            raw.send(head("GET", path, version="1.0"))
            response = raw.read()
            assert response.status == 200
            assert body is None or response.body == body
            assert response.header("transfer-encoding") is None
            assert raw.is_closed()


def test_http_1_0_store(area: Area) -> None:
    """An HTTP/1.0 client can store."""
    with area.service.raw() as raw:
        raw.send(head("PUT", area.url(1), OCTETS, "Content-Length: 4096", version="1.0") + PAGE)
        assert raw.read().status == 204
        assert raw.is_closed()
    assert area.load(1) == PAGE


@pytest.mark.smoke
def test_header_names_are_case_insensitive(area: Area) -> None:
    """Header names are case-insensitive, and white space around values is not theirs."""
    with area.service.raw() as raw:
        raw.send(
            f"PUT {area.url(1)} HTTP/1.1\r\nhOST:\tlocalhost \r\nCONTENT-type:application/octet-stream\r\n"
            f"content-LENGTH:   4096\t\r\n\r\n".encode()
            + PAGE
        )
        assert raw.read().status == 204
        raw.send(request("GET", area.url(1), None, f"if-NONE-match:  {pages.etag(PAGE)}  "))
        assert raw.read().status == 304


@pytest.mark.smoke
def test_an_absolute_target(area: Area) -> None:
    """A target in absolute form, as a proxy's client sends it, is the path in it, or refused; never another page."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send(request("GET", f"http://localhost{area.url(1)}", None, host="localhost"))
        response = raw.read()
    assert response.status in {200, 400, 404}
    if response.status == 200:
        assert response.body == PAGE


def wrong_framings(area: Area) -> dict[str, bytes]:
    target = area.url(1)
    smuggled = request("DELETE", area.url(2))
    return {
        "two lengths that differ": head("PUT", target, OCTETS, "Content-Length: 4096", "Content-Length: 0")
        + PAGE
        + smuggled,
        "two lengths in one line": head("PUT", target, OCTETS, "Content-Length: 4096, 0") + PAGE + smuggled,
        "length and chunked": head("PUT", target, OCTETS, "Content-Length: 4096", "Transfer-Encoding: chunked")
        + chunked(PAGE)
        + smuggled,
        "chunked and length": head("PUT", target, OCTETS, "Transfer-Encoding: chunked", "Content-Length: 3")
        + chunked(PAGE)
        + smuggled,
        "a negative length": head("PUT", target, OCTETS, "Content-Length: -1") + PAGE,
        "a length with a sign": head("PUT", target, OCTETS, "Content-Length: +4096") + PAGE,
        "a length in hex": head("PUT", target, OCTETS, "Content-Length: 0x1000") + PAGE,
        "a length with an underscore": head("PUT", target, OCTETS, "Content-Length: 4_096") + PAGE,
        "an empty length": head("PUT", target, OCTETS, "Content-Length: ") + PAGE,
        "a chunk size that is none": head("PUT", target, OCTETS, "Transfer-Encoding: chunked") + b"zz\r\n" + PAGE,
        "a negative chunk size": head("PUT", target, OCTETS, "Transfer-Encoding: chunked") + b"-1\r\n" + PAGE,
        "a chunk longer than it says": head("PUT", target, OCTETS, "Transfer-Encoding: chunked")
        + b"fff\r\n"
        + PAGE
        + b"\r\n0\r\n\r\n",
        "a huge chunk size": head("PUT", target, OCTETS, "Transfer-Encoding: chunked")
        + b"ffffffffffffffffff\r\n"
        + PAGE,
        "chunked twice": head("PUT", target, OCTETS, "Transfer-Encoding: chunked, chunked") + chunked(PAGE),
        "chunked not last": head("PUT", target, OCTETS, "Transfer-Encoding: chunked, gzip") + chunked(PAGE),
        "an unknown coding": head("PUT", target, OCTETS, "Transfer-Encoding: xchunked") + chunked(PAGE),
        "a space before the colon": head("PUT", target, OCTETS, "Content-Length : 4096") + PAGE,
        "a folded header": head("PUT", target, OCTETS, "X-Folded: a\r\n b", "Transfer-Encoding:\r\n chunked")
        + chunked(PAGE),
        "a header without a name": head("PUT", target, OCTETS, ": 1", "Content-Length: 4096") + PAGE,
        "a NUL in a header": head("PUT", target, OCTETS, "X-Nul: a\0b", "Content-Length: 4096") + PAGE,
        "a bare CR in a header": head("PUT", target, OCTETS, "X-Cr: a\rContent-Length: 0", "Content-Length: 4096")
        + PAGE,
    }


@pytest.mark.smoke
@pytest.mark.parametrize("shape", wrong_framings(Area(None, 0)))
def test_smuggling_shapes(area: Area, shape: str) -> None:
    """A message whose framing is ambiguous is refused, or read one way: nothing smuggled in it is carried out."""
    area.store(1, OTHER, OTHER)
    with area.service.raw() as raw:
        raw.send_while_taken(wrong_framings(area)[shape])
        raw.half_close()
        answers = raw.received_before_close()
    assert area.load(2) == OTHER, "the smuggled request was carried out"
    assert answers[:13] in {b"", b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 411 ", b"HTTP/1.1 413 "} or (
        answers.count(b"HTTP/1.1 ") == 1 and area.load(1) in {PAGE, OTHER}
    )
    assert answers_on_a_new_connection(area)


MUST_REFUSE = [
    "two lengths that differ",
    "length and chunked",
    "chunked and length",
    "a chunk size that is none",
    "a chunk longer than it says",
    "a negative length",
    "a length with a sign",
    "a length in hex",
]


@pytest.mark.smoke
@pytest.mark.parametrize("shape", MUST_REFUSE)
def test_smuggling_shapes_are_refused(area: Area, shape: str) -> None:
    """Two lengths, a length with Transfer-Encoding, and bad chunks store nothing and end the connection."""
    area.store(1, OTHER, OTHER)
    with area.service.raw() as raw:
        raw.send_while_taken(wrong_framings(area)[shape])
        answers = raw.received_before_close()
    assert answers == b"" or answers.startswith(b"HTTP/1.1 400 ")
    assert area.load_pages(1, 2) == [OTHER, OTHER]


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / \r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff\xfe\xfd\xfc" * 100,
        b"\0" * 100,
    ],
)
@pytest.mark.smoke
def test_what_is_not_http(area: Area, wire: bytes) -> None:
    """Bytes that are no HTTP are answered with 4xx or a closed connection, and nobody else notices."""
    with area.service.raw() as raw:
        raw.send(wire)
        raw.half_close()
        answer = raw.received_before_close()
    assert answer == b"" or answer[:10] in {b"HTTP/1.1 4", b"HTTP/1.1 5"}
    assert not answer.startswith(b"HTTP/1.1 500")
    assert answers_on_a_new_connection(area)


@pytest.mark.combination("door", "two-workers")
def test_a_head_that_is_too_long(area: Area) -> None:
    """A head over the bound is 431 or 400, and the connection is closed."""
    with area.service.raw() as raw:
        raw.send_while_taken(head("GET", area.url(1), *[f"X-{n}: {'x' * 1000}" for n in range(100)]))
        answer = raw.received_before_close()
    assert answer == b"" or answer[:13] in {b"HTTP/1.1 431 ", b"HTTP/1.1 400 "}
    assert answers_on_a_new_connection(area)


@pytest.mark.combination("door", "two-workers")
def test_a_url_that_is_too_long(area: Area) -> None:
    """A request line over the bound is refused, and the connection is closed."""
    with area.service.raw() as raw:
        raw.send_while_taken(head("GET", area.url(1) + "?x=" + "y" * 100_000))
        answer = raw.received_before_close()
    assert answer == b"" or answer[:13] in {b"HTTP/1.1 431 ", b"HTTP/1.1 414 ", b"HTTP/1.1 400 "}


def test_no_version_banner(area: Area) -> None:
    """No response names the software that made it."""
    for path in (area.url(1), "/livez", "/nothing"):
        with area.service.raw() as raw:
            raw.send(request("GET", path))
            assert raw.read().header("server") in {None, "pagepool"}


def read_all(raw: RawConnection, count: int) -> list[int]:
    return [raw.read().status for _ in range(count)]


def test_many_connections_at_once(area: Area) -> None:
    """Two hundred connections are served side by side."""
    area.store(1, PAGE)
    connections = [area.service.raw() for _ in range(200)]
    try:
        for raw in connections:
            raw.send(request("GET", area.url(1)))
        assert [read_all(raw, 1) for raw in connections] == [[200]] * 200
    finally:
        for raw in connections:
            raw.close()
