"""Bodies of every shape, on the wire (contract 2.1)."""

import gzip
import itertools

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import chunked, request
from tests.harness.redis_server import until

PAGE, OTHER = pages.incompressible(1), pages.compressible(2)
OCTETS = "Content-Type: application/octet-stream"


def head(area: Area, *lines: str, offset: int = 1, method: str = "PUT") -> bytes:
    return "\r\n".join([f"{method} {area.url(offset)} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@pytest.mark.smoke
@pytest.mark.parametrize("length", [0, 1, 8, 4095, 4097, 8191, 3 * 4096 - 1])
def test_wrong_lengths(area: Area, length: int) -> None:
    """A body whose length is not k × page_size, k ≥ 1, is 400 `bad_page_length`, bytes ≥ 0x80 or not."""
    area.store(1, OTHER)
    for filler in (b"\xff", b"\x80", b"a", b"\x00"):
        check_problem(area.put(1, filler * length), 400, "bad_page_length", "kept")
    assert area.load(1) == OTHER


@pytest.mark.parametrize("length", [0, 1, 4095, 4097])
def test_wrong_lengths_chunked(area: Area, length: int) -> None:
    """A chunked body of a wrong length is 400 as well."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked") + chunked(b"\xfe" * length, 10, 1000))
        check_problem(raw.read(), 400, "bad_page_length", "kept")


@pytest.mark.smoke
@pytest.mark.parametrize("sizes", [(), (1,), (4095, 1), (1, 2, 3, 4, 5), (16,) * 256, (4096,), (5000, 3000)])
def test_chunked_bodies(area: Area, sizes: tuple[int, ...]) -> None:
    """A chunked body is a body, however it is cut."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked") + chunked(PAGE + OTHER, *sizes))
        assert raw.read().status == 204
    assert area.load_pages(1, 2) == [PAGE, OTHER]


def test_chunk_extensions_and_trailers(area: Area) -> None:
    """Chunk extensions and trailers are read past."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked"))
        raw.send(b'1000;name="value"\r\n' + PAGE + b"\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert raw.read().status == 204
        raw.send(request("GET", area.url(1)))
        assert raw.read().body == PAGE


@pytest.mark.smoke
@pytest.mark.parametrize("piece", [1, 100, 1000, 4096, 5000])
def test_a_body_that_comes_in_pieces(area: Area, piece: int) -> None:
    """A body is the same whatever the segments that it comes in, its head included."""
    message = request("PUT", area.url(1), PAGE)
    step = piece if piece > 1 else 7
    with area.service.raw() as raw:
        for at in range(0, len(message), step):
            raw.send(message[at : at + step])
        assert raw.read().status == 204
    assert area.load(1) == PAGE


@pytest.mark.smoke
@pytest.mark.parametrize("sent", [0, 1, 2048, 4095])
@pytest.mark.parametrize("how", ["length", "chunked"])
def test_a_body_cut_off_half_way(area: Area, sent: int, how: str) -> None:
    """Pages are stored only after the whole body has come: a client that vanishes half-way changes nothing."""
    area.store(1, OTHER)
    framing = "Content-Length: 4096" if how == "length" else "Transfer-Encoding: chunked"
    body = PAGE[:sent] if how == "length" else b"1000\r\n" + PAGE[:sent]
    before = area.service.metrics()
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, framing) + body)
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, framing) + body)
        raw.half_close()
        answer = raw.received_before_close()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert area.load(1) == OTHER
    assert "stores.raw" not in area.service.metrics().since(before)


def test_an_extent_cut_off_after_whole_pages(area: Area) -> None:
    """An extent that is cut off after some whole pages stores none of them."""
    area.store(1, OTHER, OTHER, OTHER)
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Content-Length: 12288") + PAGE * 2)
        raw.half_close()
        raw.received_before_close()
    assert area.load_pages(1, 3) == [OTHER] * 3


def test_a_chunked_body_without_its_end(area: Area) -> None:
    """A chunked body without its last chunk is no whole body, though whole pages came."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked") + b"1000\r\n" + PAGE + b"\r\n")
        raw.half_close()
        raw.received_before_close()
    assert area.is_absent(1)


@pytest.mark.smoke
def test_too_large_by_content_length(area: Area) -> None:
    """Over the limit by Content-Length: 413 at once, before a byte of the body, and the connection is closed."""
    area.store(1, OTHER)
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, f"Content-Length: {513 * 4096}"))
        response = raw.read()
        check_problem(response, 413, "extent_too_large", "kept")
        assert response.says_close
        assert raw.is_closed()
    assert area.load(1) == OTHER


@pytest.mark.parametrize("length", ["99999999999999999999", str(2**63), str(2**62)])
def test_too_large_by_any_content_length(area: Area, length: str) -> None:
    """A Content-Length of any size is answered with 413 or refused as a header; nothing is reserved for it."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, f"Content-Length: {length}"))
        response = raw.read()
        assert response.status in {400, 413}
        assert raw.is_closed()


@pytest.mark.smoke
def test_too_large_by_counting(area: Area) -> None:
    """Over the limit by the bytes counted: 413 as soon as they pass it, and the connection is closed."""
    area.store(1, OTHER)
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b"\x9c" * 65536 + b"\r\n"
        sent = 0
        while sent < 64 and raw.send_while_taken(chunk):
            sent += 1
            if sent >= 33 and not raw.is_quiet(0.05):
                break
        assert sent < 64, "the service takes more than twice the limit"
        response = raw.read()
        check_problem(response, 413, "extent_too_large", "kept")
        assert response.says_close
        assert raw.is_closed()
    assert area.load(1) == OTHER


@pytest.mark.combination("door", "two-workers", "cluster")
@pytest.mark.parametrize("count", [513, 3000, 20_000])
def test_too_large_for_a_client_that_sends_before_it_reads(area: Area, count: int) -> None:
    """It sees the refusal, not a reset connection, though it sends all of its body first."""
    with area.service.raw() as raw:
        assert raw.send_while_taken(head(area, OCTETS, f"Content-Length: {count * 4096}"))
        piece = bytes(1 << 20)
        for left in range(count * 4096, 0, -len(piece)):
            assert raw.send_while_taken(piece[:left])
        answer = raw.read()
        check_problem(answer, 413, "extent_too_large", "kept")
        assert answer.says_close
        assert raw.is_closed()


def test_exactly_the_limit_chunked(area: Area) -> None:
    """A chunked body of exactly max_extent_pages pages is taken."""
    body = b"".join(pages.mixed(512, seed=9))
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Transfer-Encoding: chunked") + chunked(body, *[60_000] * 10))
        assert raw.read().status == 204
    assert area.load(1, 512) == body


@pytest.mark.smoke
def test_expect_100_continue(area: Area) -> None:
    """A client that waits for 100 Continue gets it, then its answer."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Content-Length: 4096", "Expect: 100-continue"))
        assert raw.read().status == 100
        raw.send(PAGE)
        assert raw.read("PUT").status == 204
        raw.send(request("GET", area.url(1)))
        assert raw.read().body == PAGE


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Content-Type: text/plain", "Content-Length: 4096"), 415),
        ((OCTETS, f"Content-Length: {513 * 4096}"), 413),
    ],
)
def test_expect_100_continue_of_a_store_that_is_refused(area: Area, lines: tuple[str, ...], status: int) -> None:
    """A store whose head says that it will be refused is answered without its body being asked for."""
    with area.service.raw() as raw:
        raw.send(head(area, *lines, "Expect: 100-continue"))
        check_problem(raw.read(), status, None, "kept")


@pytest.mark.combination("door", "two-workers", "cluster")
def test_expect_100_continue_of_http_1_0(area: Area) -> None:
    """A client of HTTP/1.0 would take a 100 for its answer, so it gets none (RFC 9110, 10.1.1)."""
    wire = head(area, OCTETS, "Content-Length: 4096", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with area.service.raw() as raw:
        raw.send(wire)
        assert raw.is_quiet()
        raw.send(PAGE)
        assert raw.read("PUT").status == 204


@pytest.mark.parametrize("codings", [("gzip, chunked",), ("gzip", "chunked"), ("x, chunked",)])
def test_transfer_codings_are_refused(area: Area, codings: tuple[str, ...]) -> None:
    """Nobody here undoes another one than chunked: what would be stored is not the page."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, *(f"Transfer-Encoding: {coding}" for coding in codings)) + chunked(bytes(4096)))
        check_problem(raw.read(), 400)
    assert area.load(1) == PAGE


def test_an_unknown_expectation(area: Area) -> None:
    """An expectation that cannot be met is 417, or is ignored; never a hang."""
    with area.service.raw() as raw:
        raw.send(head(area, OCTETS, "Content-Length: 4096", "Expect: 200-maybe") + PAGE)
        assert raw.read().status in {204, 417}


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "x-gzip", "gzip, identity", "nonsense"])
def test_content_encodings_are_refused(area: Area, encoding: str) -> None:
    """A Content-Encoding other than identity is 415."""
    area.store(1, OTHER)
    check_problem(area.put(1, PAGE, headers={"Content-Encoding": encoding}), 415, "unsupported_media_type", "kept")
    check_problem(area.put(1, gzip.compress(PAGE), headers={"Content-Encoding": encoding}), 415, None, "kept")
    assert area.load(1) == OTHER


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-streams",
        "application/*",
        "octet-stream",
        "nonsense",
    ],
)
def test_other_media_types_are_refused(area: Area, media_type: str) -> None:
    """Another media type is 415."""
    area.store(1, OTHER)
    check_problem(area.put(1, PAGE, headers={"Content-Type": media_type}), 415, "unsupported_media_type", "kept")
    assert area.load(1) == OTHER


@pytest.mark.smoke
@pytest.mark.parametrize("value", ["bytes 0-4095/4096", "bytes 0-4095/*", "nonsense"])
def test_content_range_is_refused(area: Area, value: str) -> None:
    """`Content-Range` on a page PUT is 400: a partial PUT must not be taken for a whole one."""
    area.store(1, OTHER)
    check_problem(area.put(1, PAGE, headers={"Content-Range": value}), 400, None, "kept")
    assert area.load(1) == OTHER


def test_a_get_with_a_body(area: Area) -> None:
    """A GET with a body has its body read past, and the connection's framing holds."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send(request("GET", area.url(1), b"\xff" * 5000) + request("GET", "/livez"))
        assert raw.read().status in {200, 400}
        answer = raw.buffer or not raw.is_closed()
        if answer:
            assert raw.read().status == 200


def test_an_answer_to_a_slow_reader(area: Area) -> None:
    """A client that reads late gets every byte."""
    body = pages.mixed(512, seed=4)
    area.store(0, *body)
    with area.service.raw() as raw:
        for _ in range(8):
            raw.send(request("GET", f"{area.url(0)}?count=512"))
        assert area.load(0) == body[0], "others are served meanwhile"
        for _ in range(8):
            assert raw.read().body == b"".join(body)


def test_clients_that_leave_before_the_answer(area: Area) -> None:
    """Clients that ask and leave do no harm to anyone."""
    body = pages.mixed(512, seed=4)
    area.store(0, *body)
    for _ in range(20):
        with area.service.raw() as raw:
            raw.send(request("GET", f"{area.url(0)}?count=512"))
    for attempt in itertools.count():
        with area.service.raw() as raw:
            raw.send(request("PUT", area.url(1000), PAGE))
        if attempt == 20:
            break
    until(lambda: not area.is_absent(1000), 5, "a store whose client left is carried out or not, but others go on")
    assert area.load(0, 512) == b"".join(body)
