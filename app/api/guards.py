"""Who may speak to the service through a browser, and under which name (contract, 3.7). Pure functions, for both doors.

Threat: a page of some web site, open in a browser on the machine that runs Pagepool (or can reach it).

- It can send "simple" requests anywhere. So unsafe methods are refused if `Origin` is not the service's own, or
  `Sec-Fetch-Site` says that another site asks; and JSON must come as `application/json`, which a simple request cannot.
- It can point its own name at 127.0.0.1 (DNS rebinding), and is then same-origin. So the `Host` must be one that the
  operator knows. Addresses cannot be rebound: loopback's are always allowed, and any address is if the service
  listens on all of them.
- Methods that are safe may be sent by anybody, since nobody foreign can read the answer.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from app.errors import BadAddress, BadHeader, Forbidden, NotFound, PagepoolError, UnsupportedMediaType
from app.settings import Settings

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, values without surrounding blanks, as ASGI has them."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
ANY_HOST = "*"

_WILDCARD_LISTENERS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_PORT = re.compile(r"[0-9]{0,5}", re.ASCII)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)", re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_MAX_REMEMBERED_HOSTS = 256
_MAX_HOST_BYTES = 300


def split_host(value: bytes) -> tuple[str, str] | None:
    """Host (lower case, an address in its canonical form, no trailing dot) and port ("" if none) of a Host header.

    None for anything that is not `host [":" port]` of RFC 9110: userinfo, blanks, a bare IPv6 address, a zone, an
    empty name, a port that is not one.
    """
    if not value or len(value) > _MAX_HOST_BYTES or not value.isascii():
        return None
    text = value.decode("ascii").lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or "%" in host or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
        try:
            host = str(IPv6Address(host))
        except ValueError:
            return None
    else:
        host, _, port = text.partition(":")
        host = host.removesuffix(".")
        if not _NAME.fullmatch(host) or _is_odd_number(host):
            return None
    return (host, port) if _PORT.fullmatch(port) and int(port or 0) < 1 << 16 else None


def _is_odd_number(host: str) -> bool:
    # 2130706433, 0x7f.1 and 127.1 are addresses to a resolver, though not to ip_address: nobody needs them here.
    if not re.fullmatch(r"0x[0-9a-f]*|[0-9]+", host.rpartition(".")[2]):
        return False
    try:
        IPv4Address(host)
    except ValueError:
        return True
    return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class AllowedHosts:
    """Which Host headers are the service's own names."""

    def __init__(self, names: Iterable[str], *, any_address: bool = False, any_host: bool = False) -> None:
        """Read the names.

        Args:
            names: hosts, each with a port (then that port only) or without (any port); `*.example.org` allows what is
                below example.org; `*` allows everything.
            any_address: allow every address literal, as the service listens on all of its machine's.
            any_host: allow everything, as on a Unix socket, which no browser reaches.

        Raises:
            ValueError: a name is not one.
        """
        listed = [name.strip().lower() for name in names]
        self._any_host = any_host or ANY_HOST in listed
        self._any_address = any_address
        self._suffixes = tuple(name[1:] for name in listed if name.startswith("*."))
        self._exact: set[tuple[str, str]] = {("localhost", "")}
        for name in listed:
            if name == ANY_HOST or name.startswith("*."):
                continue
            bare_v6 = name.count(":") > 1 and not name.startswith("[")
            parts = split_host(f"[{name}]".encode() if bare_v6 else name.encode())
            if parts is None:
                raise ValueError(f"{name!r} is not a host name that a request could bear")
            self._exact.add(parts)
        self._remembered: dict[bytes, PagepoolError | None] = {}

    def __repr__(self) -> str:
        return f"AllowedHosts({'*' if self._any_host else sorted(self._exact)})"

    @classmethod
    def from_settings(cls, settings: Settings) -> AllowedHosts:
        """Loopback, the address listened on, and PAGEPOOL_ALLOWED_HOSTS.

        Raises:
            ValueError: a name in the settings is not one.
        """
        is_wildcard = settings.host in _WILDCARD_LISTENERS
        names = settings.allowed_hosts if is_wildcard else (settings.host, *settings.allowed_hosts)
        return cls(names, any_address=is_wildcard, any_host=settings.uds is not None)

    def allows(self, host: str, port: str) -> bool:
        """Whether a request that names this host and port is meant for this service."""
        if self._any_host or (host, "") in self._exact or (host, port) in self._exact:
            return True
        address = _address(host)
        if address is not None:
            return self._any_address or address.is_loopback
        return host.endswith(self._suffixes) if self._suffixes else False

    def check(self, value: bytes) -> None:
        """Check one Host header; a value seen before costs one look into a dictionary.

        Raises:
            BadHeader: it is malformed.
            Forbidden: it names another host.
        """
        try:
            verdict = self._remembered[value]
        except KeyError:
            verdict = self._judge(value)
            if len(self._remembered) < _MAX_REMEMBERED_HOSTS:
                self._remembered[value] = verdict
        if verdict is not None:
            raise type(verdict)(verdict.detail)

    def _judge(self, value: bytes) -> PagepoolError | None:
        parts = split_host(value)
        if parts is None:
            return None if self._any_host and not value else BadHeader("The Host header is malformed.")
        if self.allows(*parts):
            return None
        return Forbidden("This Host is not one of the service's names; PAGEPOOL_ALLOWED_HOSTS lists them.")


def check_host(values: Sequence[bytes], http_version: str, allowed: AllowedHosts) -> None:
    """Check the Host headers of a request.

    Raises:
        BadHeader: malformed, more than one, or none in HTTP/1.1 or later.
        Forbidden: not one of the service's names.
    """
    if len(values) == 1:
        allowed.check(values[0])
    elif values or http_version != "1.0":
        raise BadHeader("A request must bear exactly one Host header.")


def check_origin(method: str, host: bytes | None, origins: Sequence[bytes], site: bytes | None) -> None:
    """Check that no foreign page of a browser sends an unsafe request.

    Args:
        method: the request's method.
        host: its Host header, already checked.
        origins: its Origin headers.
        site: its Sec-Fetch-Site header.

    Raises:
        Forbidden: the request is unsafe, and another origin's.
    """
    if method in SAFE_METHODS or (not origins and site is None):
        return
    is_own = len(origins) == 1 and host is not None and _is_same_origin(origins[0], host)
    if origins and not is_own:
        raise Forbidden("Requests that change the pool are not taken from another origin.")
    if site is not None and site not in {b"same-origin", b"none"} and not (site == b"same-site" and is_own):
        raise Forbidden("Requests that change the pool are not taken from another site.")


def _is_same_origin(origin: bytes, host: bytes) -> bool:
    # The scheme is not compared: a proxy that ends TLS passes on "https" in Origin and itself speaks http.
    match = _ORIGIN.fullmatch(origin.decode("latin-1").lower())
    if match is None:
        return False
    default = _DEFAULT_PORTS[match[1]]
    of_origin, own = split_host(match[2].encode("latin-1")), split_host(host)
    if of_origin is None or own is None:
        return False
    return (of_origin[0], of_origin[1] or default) == (own[0], own[1] or default)


def check_request(method: str, headers: Headers, http_version: str, allowed: AllowedHosts) -> None:
    """Run the guards over a whole request.

    Raises:
        BadHeader: Host is missing, doubled or malformed, or the body has a coding that nobody here undoes.
        Forbidden: Host is not the service's, or a foreign page sends an unsafe request.
    """
    hosts: list[bytes] = []
    origins: list[bytes] = []
    codings: list[bytes] = []
    site: bytes | None = None
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site":
            site = value if site is None else b"doubled"
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    check_host(hosts, http_version, allowed)
    check_origin(method, hosts[0] if hosts else None, origins, site)
    if codings and codings != [b"chunked"]:
        # The server below takes the chunks apart, and leaves any other coding in the body.
        raise BadHeader("Transfer-Encoding may only be chunked.")


def check_json(content_types: Sequence[bytes], content_encodings: Sequence[bytes]) -> None:
    """Check that a body is declared to be plain JSON.

    Raises:
        UnsupportedMediaType: it is not `application/json`, or it is compressed.
    """
    if len(content_types) != 1 or content_types[0].partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("This call takes application/json.")
    if any(encoding.strip().lower() not in {b"", b"identity"} for encoding in content_encodings):
        raise UnsupportedMediaType("This call takes no Content-Encoding.")


def check_path(raw_path: bytes) -> None:
    """Check that the path, as it came on the wire, has no percent-encoding: no path of the service needs any.

    Raises:
        BadAddress: it has, where a type or an offset stands.
        NotFound: it has, elsewhere.
    """
    if b"%" in raw_path:
        if raw_path.startswith((b"/v1/pages/", b"/v1/frames/", b"/v1/types/")):
            raise BadAddress("A path must not be percent-encoded.")
        raise NotFound("No such path.")


class RequestIds:
    """Gives each request an id: the client's own if it is sane, else a random prefix and a count."""

    def __init__(self) -> None:
        pattern = os.urandom(6).hex().encode() + b"-%x\r\n\r\n"
        self.rendered = map(pattern.__mod__, itertools.count(1))
        """Fresh ids without end, each with the empty line behind it that ends a head."""

    def choose(self, sent: bytes | None) -> bytes:
        """The id for a request that sent this X-Request-ID, or none.

        Sane is 1 to 128 of `A-Z a-z 0-9 . _ -`; anything else could break a log or a header.
        """
        if sent is not None and _REQUEST_ID.fullmatch(sent):
            return sent
        return next(self.rendered)[:-4]
