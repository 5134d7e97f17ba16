"""Browser guards, as pure functions."""

from __future__ import annotations

import pytest

from app.api.guards import AllowedHosts, RequestIds, check_path, check_request, split_host
from app.errors import BadAddress, BadHeader, Forbidden, NotFound
from app.settings import Settings

LOOPBACK = AllowedHosts(["127.0.0.1"])


def settings(**values: object) -> AllowedHosts:
    return AllowedHosts.from_settings(Settings(_env_file=None, **values))


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"localhost", ("localhost", "")),
        (b"LocalHost.:8000", ("localhost", "8000")),
        (b"127.0.0.1:80", ("127.0.0.1", "80")),
        (b"[::1]:8000", ("::1", "8000")),
        (b"[0:0:0:0:0:0:0:1]", ("::1", "")),
        (b"pool.example:", ("pool.example", "")),
        (b"under_score", ("under_score", "")),
    ],
)
def test_hosts_are_split_and_normalised(value: bytes, parts: tuple[str, str]) -> None:
    """Case, a trailing dot and the spellings of an IPv6 address make no difference."""
    assert split_host(value) == parts


@pytest.mark.parametrize(
    "value",
    [
        b"", b".", b"..", b":8000", b"a..b", b"::1", b"[::1", b"[::1]8000", b"[::1%25eth0]", b"[1.2.3.4]", b"[]",
        b"localhost:x", b"localhost:99999", b"localhost:8000:1", b"localhost:-1", b"user@localhost",
        b"localhost@evil.example", b"local host", b"localhost,evil.example", b"localhost/x", b"localhost#x",
        b"http://localhost", b"l\xc3\xb6calhost", b"127.1", b"0x7f.0.0.1", b"2130706433", b"127.0.0.256", b"a" * 400,
        b"localhost\x00", b"localhost\n", b"127.0.0.1\n", b"*",
    ],
)  # fmt: skip
def test_what_is_not_a_host_is_refused(value: bytes) -> None:
    """Userinfo, blanks, odd spellings of addresses, control characters, non-ASCII: none is a host."""
    assert split_host(value) is None
    with pytest.raises(BadHeader):
        LOOPBACK.check(value)


@pytest.mark.parametrize(
    "value", [b"localhost", b"LOCALHOST:1", b"localhost.", b"127.0.0.1:8000", b"127.8.9.10", b"[::1]:8000"]
)
def test_loopback_is_always_allowed(value: bytes) -> None:
    """Its name and its addresses, on any port."""
    LOOPBACK.check(value)
    settings(host="192.0.2.7").check(value)


@pytest.mark.parametrize(
    "value",
    [
        b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example", b"evil.example:8000", b"192.0.2.1",
        b"notlocalhost", b"x.localhost", b"0.0.0.0", b"[::]", b"[::2]", b"[::ffff:192.0.2.1]", b"localhost..",
    ],
)  # fmt: skip
def test_a_name_that_was_rebound_to_loopback_is_refused(value: bytes) -> None:
    """DNS may say what it likes: only the names that the operator knows are the service's."""
    for _ in range(2):  # the verdict is remembered
        with pytest.raises((Forbidden, BadHeader)):
            LOOPBACK.check(value)


def test_the_address_listened_on_is_allowed() -> None:
    """PAGEPOOL_HOST, be it a name, an IPv4 or an IPv6 address."""
    settings(host="192.0.2.7").check(b"192.0.2.7:8000")
    settings(host="2001:db8::1").check(b"[2001:DB8:0::1]:8000")
    settings(host="pool.example").check(b"pool.example")
    with pytest.raises(Forbidden):
        settings(host="192.0.2.7").check(b"192.0.2.8")


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
def test_who_listens_on_all_addresses_is_known_by_all_addresses(listen: str) -> None:
    """An address cannot be rebound; a name still must be allowed."""
    allowed = settings(host=listen, allowed_hosts="pool.example")
    for value in (b"192.0.2.1:8000", b"[2001:db8::1]", b"pool.example"):
        allowed.check(value)
    with pytest.raises(Forbidden):
        allowed.check(b"evil.example")


def test_allowed_names_may_bear_a_port_or_a_star() -> None:
    """With a port only that one; *.name is what is below it, and not the name itself; * is everything."""
    allowed = settings(allowed_hosts="a.example:8000, *.b.example, [2001:db8::1], 2001:db8::2")
    for value in (b"a.example:8000", b"x.b.example", b"y.x.B.example:1", b"[2001:db8::1]:5", b"[2001:db8::2]"):
        allowed.check(value)
    for value in (b"a.example", b"a.example:1", b"b.example", b"xb.example"):
        with pytest.raises(Forbidden):
            allowed.check(value)
    settings(allowed_hosts="*").check(b"evil.example")
    with pytest.raises(ValueError, match="not a host name"):
        settings(allowed_hosts="http://a.example")


def test_a_unix_socket_takes_any_host() -> None:
    """No browser reaches it; curl sends whatever the URL says, other clients nothing."""
    allowed = settings(uds="/tmp/socket")
    allowed.check(b"anything.example")
    allowed.check(b"")
    with pytest.raises(BadHeader):
        allowed.check(b"user@host")


@pytest.mark.parametrize(
    ("headers", "version", "is_fine"),
    [
        ([], "1.1", False),
        ([], "2", False),
        ([], "1.0", True),
        ([(b"host", b"localhost"), (b"host", b"localhost")], "1.1", False),
        ([(b"host", b"localhost")], "1.1", True),
    ],
)
def test_a_request_bears_one_host(headers: list[tuple[bytes, bytes]], version: str, is_fine: bool) -> None:
    """Exactly one, though HTTP/1.0 may do without."""
    if is_fine:
        check_request("GET", headers, version, LOOPBACK)
    else:
        with pytest.raises(BadHeader):
            check_request("GET", headers, version, LOOPBACK)


HOST = (b"host", b"localhost:8000")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"http://evil.example")],
        [(b"origin", b"null")],
        [(b"origin", b"")],
        [(b"origin", b"http://localhost:3000")],
        [(b"origin", b"http://localhost")],
        [(b"origin", b"http://127.0.0.1:8000")],
        [(b"origin", b"http://localhost:8000.evil.example")],
        [(b"origin", b"http://localhost:8000@evil.example")],
        [(b"origin", b"http://user@localhost:8000")],
        [(b"origin", b"http://localhost:8000/path")],
        [(b"origin", b"file://localhost:8000")],
        [(b"origin", b"chrome-extension://localhost:8000")],
        [(b"origin", b"http://localhost:8000 http://evil.example")],
        [(b"origin", b"http://localhost:8000"), (b"origin", b"http://evil.example")],
        [(b"origin", b"\xff\x80")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"")],
        [(b"sec-fetch-site", b"Same-Origin")],
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [(b"origin", b"http://localhost:8000"), (b"sec-fetch-site", b"cross-site")],
        [(b"origin", b"http://evil.example"), (b"sec-fetch-site", b"same-origin")],
    ],
)
def test_unsafe_requests_of_foreign_pages_are_refused(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Another origin, an opaque one, another port, one that only resembles ours, or a browser that says cross-site."""
    with pytest.raises(Forbidden):
        check_request(method, [HOST, *headers], "1.1", LOOPBACK)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"origin", b"http://localhost:8000")],
        [(b"origin", b"https://LOCALHOST:8000")],
        [(b"sec-fetch-site", b"none")],
        [(b"sec-fetch-site", b"same-origin")],
        [(b"origin", b"http://localhost:8000"), (b"sec-fetch-site", b"same-site")],
    ],
)
def test_own_pages_and_programs_may_change_the_pool(headers: list[tuple[bytes, bytes]]) -> None:
    """Programs send neither header; the service's own dashboard sends its own origin."""
    check_request("PUT", [HOST, *headers], "1.1", LOOPBACK)


def test_default_ports_of_an_origin_are_implied() -> None:
    """A proxy that ends TLS on 443 passes on a Host without a port."""
    allowed = settings(allowed_hosts="pool.example")
    for host, origin in ((b"pool.example", b"https://pool.example"), (b"pool.example:443", b"https://pool.example")):
        check_request("PUT", [(b"host", host), (b"origin", origin)], "1.1", allowed)
    with pytest.raises(Forbidden):
        check_request("PUT", [(b"host", b"pool.example"), (b"origin", b"http://pool.example:8080")], "1.1", allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_safe_requests_may_come_from_anywhere(method: str) -> None:
    """They change nothing, and a foreign page cannot read the answer."""
    check_request(
        method, [HOST, (b"origin", b"http://evil.example"), (b"sec-fetch-site", b"cross-site")], "1.1", LOOPBACK
    )


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/v1/pages/%31/0", BadAddress),
        (b"/v1/types/1/..%2f", BadAddress),
        (b"/v1%2fpages/1/0", NotFound),
        (b"/%00", NotFound),
    ],
)
def test_percent_encoding_is_refused(path: bytes, error: type[Exception]) -> None:
    """No path of the service needs it; where a number stands it is a bad address."""
    with pytest.raises(error):
        check_path(path)
    check_path(b"/v1/pages/1/0")


def test_request_ids_are_unique_and_sane() -> None:
    """A client's id is kept if it is 1 to 128 of a few characters; two processes do not make the same ones."""
    first, second = RequestIds(), RequestIds()
    made = [ids.choose(sent) for ids in (first, second) for sent in (None, b"", b"a b", b"x" * 129, b"a\n", b"\xff")]
    assert len(set(made)) == len(made)
    assert all(RequestIds().choose(id_) == id_ for id_ in made)
    assert first.choose(b"x" * 128) == b"x" * 128
