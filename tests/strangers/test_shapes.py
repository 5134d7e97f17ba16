"""Requests in shapes that smugglers and scanners use, through both doors."""

from __future__ import annotations

import pytest

from tests.harness.problems import check_problem
from tests.harness.raw_http import RawConnection, chunked, request
from tests.harness.service import Service

PAGE = bytes(range(256)) * 16
PATH = "/v1/pages/70/1"
OCTETS = "Content-Type: application/octet-stream"
SMUGGLED = request("DELETE", "/v1/pages/70/2")


def put(*lines: str, path: str = PATH, version: str = "1.1", end: str = "\r\n") -> bytes:
    return end.join([f"PUT {path} HTTP/{version}", "Host: localhost", OCTETS, *lines, "", ""]).encode("latin-1")


CHUNKED = "Transfer-Encoding: chunked"
FRAMINGS = {
    "two lengths": put("Content-Length: 4096", "Content-Length: 4096") + PAGE,
    "two lengths that differ": put("Content-Length: 4096", "Content-Length: 0") + PAGE,
    "a list of lengths": put("Content-Length: 4096, 4096") + PAGE,
    "length and chunked": put("Content-Length: 4096", CHUNKED) + chunked(PAGE),
    "chunked and length": put(CHUNKED, "Content-Length: 4096") + chunked(PAGE),
    "a length with a sign": put("Content-Length: +4096") + PAGE,
    "a negative length": put("Content-Length: -4096") + PAGE,
    "a length in hexadecimal": put("Content-Length: 0x1000") + PAGE,
    "a length with an underscore": put("Content-Length: 4_096") + PAGE,
    "a length with a blank in it": put("Content-Length: 40 96") + PAGE,
    "a length of no digits": put("Content-Length: \xb2") + PAGE,
    "an empty length": put("Content-Length:") + PAGE,
    "a length past 64 bits": put("Content-Length: 18446744073709551617") + PAGE,
    "a chunk size that is none": put(CHUNKED) + b"zz\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk size with a sign": put(CHUNKED) + b"+1000\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk size with a prefix": put(CHUNKED) + b"0x1000\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk longer than it says": put(CHUNKED) + b"fff\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk shorter than it says": put(CHUNKED) + b"1001\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk size past 64 bits": put(CHUNKED) + b"10000000000001000\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "a chunk that ends in LF": put(CHUNKED) + b"1000\n" + PAGE + b"\r\n0\r\n\r\n",
    "a NUL in a chunk size": put(CHUNKED) + b"1000\0\r\n" + PAGE + b"\r\n0\r\n\r\n",
    "an unknown coding": put("Transfer-Encoding: xchunked") + chunked(PAGE),
    "chunked not last": put("Transfer-Encoding: chunked, identity") + chunked(PAGE),
    "a blank before the colon": put("Content-Length : 4096") + PAGE,
    "a folded line": put("X-Folded: a\r\n b", "Content-Length: 4096") + PAGE,
    "a folded coding": put("Transfer-Encoding:\r\n chunked") + chunked(PAGE),
    "a line without a name": put(": a", "Content-Length: 4096") + PAGE,
    "a line without a colon": put("nonsense", "Content-Length: 4096") + PAGE,
    "NUL in a value": put("X: a\0b", "Content-Length: 4096") + PAGE,
    "NUL in a name": put("X\0: a", "Content-Length: 4096") + PAGE,
    "CR in a value": put("X: a\rContent-Length: 0", "Content-Length: 4096") + PAGE,
    "lines that end in LF": put("Content-Length: 4096", end="\n") + PAGE,
    "one line that ends in LF": put("X: a\nContent-Length: 4096") + PAGE,
    "a blank in the path": put("Content-Length: 4096", path="/v1/pages/70/1 x") + PAGE,
    "a version that is none": put("Content-Length: 4096", version="1.x") + PAGE,
    "an unknown version": put("Content-Length: 4096", version="9.9") + PAGE,
    "HTTP/0.9": b"GET /v1/pages/70/1\r\n\r\n",
}
MAY_BE_READ_ONE_WAY = frozenset(
    {"two lengths", "a list of lengths", "a chunk that ends in LF", "one line that ends in LF", "chunked not last"}
)
"""RFC 9112 lets a server take these. Should it, then as one request and nothing more."""


@pytest.mark.parametrize("shape", FRAMINGS)
def test_what_could_be_read_in_two_ways(open_service: Service, shape: str) -> None:
    """Is refused, and the connection ends: nothing is stored, and nothing that stands behind it is carried out."""
    for offset in (1, 2):
        path = f"/v1/pages/70/{offset}"
        assert open_service.client.put(path, content=bytes(4096), headers=octets()).status_code == 204
    with open_service.raw() as raw:
        raw.send_while_taken(FRAMINGS[shape] + SMUGGLED)
        answers = raw.received_before_close()
    assert open_service.client.get("/v1/pages/70/2").status_code == 200, "what was smuggled was carried out"
    if shape in MAY_BE_READ_ONE_WAY and answers.startswith(b"HTTP/1.1 204"):
        return
    assert answers[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 408", b""}, answers[:200]
    if answers.startswith(b"HTTP/1.1 400"):
        assert answers.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in answers.lower()
    assert open_service.client.get(PATH).content == bytes(4096), "something was stored"


def octets() -> dict[str, str]:
    return {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize("shape", FRAMINGS)
def test_a_refusal_is_a_problem_document(open_service: Service, shape: str) -> None:
    """Where the answer is the service's to give: the protocol door's are, stock uvicorn's own refusal is plain text."""
    if open_service.settings["door"] == "asgi":
        pytest.skip("uvicorn answers by itself")
    with open_service.raw() as raw:
        raw.send_while_taken(FRAMINGS[shape])
        raw.half_close()
        data = raw.received_before_close()
    if data.startswith(b"HTTP/1.1 400"):
        with_answer = RawConnection.__new__(RawConnection)
        with_answer.buffer = data
        check_problem(with_answer.read(), 400)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/pages/%31/0", "/v1/pages/1/%30", "/v1/pages/1%2f0", "/v1%2fpages/1/0", "/v1/pages/1/0%00",
        "/v1/pages/1/%2e",
        "/v1/pages/1/..", "/v1/pages/./1/0", "/v1/../v1/pages/1/0", "/v1//pages/1/0", "//v1/pages/1/0", "/v1/pages//0",
        "/v1/pages/1/0/", "/v1/pages/1/0//take", "/V1/pages/1/0", "/v1/pages/+1/0", "/v1/pages/1/+0", "/v1/pages/-1/0",
        "/v1/pages/1/-1", "/v1/pages/1_000/0", "/v1/pages/1/1_000", "/v1/pages/01/0", "/v1/pages/1/00",
        "/v1/pages/1/0x1",
        "/v1/pages/1/1e3", "/v1/pages/1/1.0", "/v1/pages/1/0;x", "/v1/pages/1/0,1", "/v1/pages/1/ 0", "/v1/pages/1/\t0",
        "/v1/pages/1/\xb2", "/v1/pages/1/\xd9\xa3", "/v1/pages/1/%D9%A3", "/v1/pages/1/\xef\xbc\x91",
        "/v1/pages/2147483648/0", "/v1/pages/1/2251799813685248", "/v1/pages/1/9223372036854775808",
        "/v1/pages/1/" + "9" * 2000, "/v1/pages/" + "1" * 2000 + "/0", "/v1/types/../pool", "/v1/types/%2e%2e/pool",
        "/v1/types/1%00", "/v1/pages/1/0\\", "\\v1\\pages\\1\\0", "/v1/pages/1/0%", "/v1/pages/1/0%zz", "/%", "/%00",
        "/..", "/.env", "/v1/pages/1/NaN", "/v1/pages/None/0", "/v1/frames/1/%30", "*", "pages", "",
        "http://localhost/v1/pages/1/%30", "https://u:p@localhost/v1/pages/1/0/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_path_tricks(open_service: Service, target: str, method: str) -> None:
    """No spelling but the plain one leads to a page: 404 or 422, or 400 where it is no target at all."""
    put_at = "/v1/pages/1/0"
    assert open_service.client.put(put_at, content=PAGE, headers=octets()).status_code == 204
    with open_service.raw() as raw:
        raw.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        status, _ = raw.read_head()
    assert status in {400, 404, 405, 422}, target
    if status == 405:
        assert target in {"/..", "*", ""}
    assert open_service.client.get(put_at).content == PAGE


@pytest.mark.parametrize(
    "query",
    [
        "count=1&count=2", "count=+1", "count=01", "count=1_0", "count=%31%30", "count=-1", "count=0", "count=",
        "count",
        "count=1e1", "count=99999999999999999999999999", "count=\xb2", "missing=ZERO", "missing=zero&missing=zero",
    ],
)  # fmt: skip
def test_query_tricks(open_service: Service, query: str) -> None:
    """A number in a query is as strict, and a parameter given twice is refused."""
    with open_service.raw() as raw:
        raw.send(f"GET /v1/pages/1/0?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        response = raw.read()
    if query == "count=%31%30":  # a query may be percent-encoded, and this is 10
        assert response.status in {200, 404}
    else:
        assert response.status in {400, 422}


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "PROPFIND", "BREW", "get", "G\0T", "GET\t"])
@pytest.mark.parametrize("target", ["*", "/v1/pages/1/0", "localhost:80", "/"])
def test_odd_methods(open_service: Service, method: str, target: str) -> None:
    """4xx, and the service goes on."""
    with open_service.raw() as raw:
        raw.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        status, headers = raw.read_head()
    assert 400 <= status < 500
    assert not any(name in {"server", "x-powered-by"} for name, _ in headers)
    assert open_service.client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/v1/pages/1/9", "/nothing", "/v1/pool", "/%00"])
def test_no_banner(open_service: Service, path: str) -> None:
    """No answer names the software, its version, or a file."""
    with open_service.raw() as raw:
        raw.send(request("GET", path))
        response = raw.read()
    assert {"server", "x-powered-by", "via"}.isdisjoint(response.by_name)
    assert b"uvicorn" not in response.body.lower()
    assert b".py" not in response.body
