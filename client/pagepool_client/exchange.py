"""Around a call, whatever carries it: where the service is, what a request bears, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

from pagepool_client.answers import Answer, error_of
from pagepool_client.calls import Call
from pagepool_client.errors import AnswerTimedOut, BrokenAnswer, NoAnswer, NotReachable
from pagepool_client.version import __version__

T = TypeVar("T")

_PORTS = {"http": 80, "https": 443}
_NO_URL = re.compile(r"[\s?#@\x00-\x1f\x7f]")
"""What is in no URL of a host and at most a path: blanks, a query, a fragment, a user."""
_IN_PATHS = "/%:!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens: `http://host:port`, `https://…`, or `unix:/path/of.sock`."""

    url: str
    uds: str | None
    is_tls: bool
    host: str
    """As a name is looked up: in ASCII."""
    port: int
    authority: str
    """As the Host header has it."""
    prefix: str
    """What stands before every path."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            ValueError: it is neither an HTTP URL, of a host and at most a path, nor a socket's path.
        """
        scheme, _, rest = text.partition(":")
        path = rest.removeprefix("//")
        if scheme == "unix" and path.startswith("/") and "\0" not in path:
            return cls("http://localhost", path, False, "localhost", 80, "localhost", "")
        if scheme in _PORTS and rest.startswith("//") and not _NO_URL.search(text):
            try:
                parts = urlsplit(text)
                host = (parts.hostname or "").encode("idna").decode()
                port = parts.port
            except ValueError:  # a bracket without its other, a label that is too long, a port that is none
                host, port = "", None
            if host and port != 0:
                shown = f"[{host}]" if ":" in host else host
                authority = shown if port in {None, _PORTS[scheme]} else f"{shown}:{port}"
                prefix = quote(parts.path.rstrip("/"), safe=_IN_PATHS)
                return cls(text.rstrip("/"), None, scheme == "https", host, port or _PORTS[scheme], authority, prefix)
        raise ValueError(f"{text!r} is not an address: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")

    def __str__(self) -> str:
        return self.url if self.uds is None else f"unix:{self.uds}"

    def headers(self, token: str | None) -> dict[str, str]:
        """What every request bears.

        Compressed answers are not asked for: the bytes that come are the bytes that are counted.

        Raises:
            ValueError: the token cannot stand in a header.
        """
        headers = {"User-Agent": f"pagepool-client/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        if token:
            if not token.isprintable() or not token.isascii():
                raise ValueError("A token is printable ASCII without line breaks.")
            headers["Authorization"] = f"Bearer {token}"
        return headers


def read_answer(call: Call[T], answer: Answer) -> T:
    """What the call's answer says.

    Raises:
        Problem: the service said no.
        BrokenAnswer: the answer is not what the protocol says it is.
    """
    if answer.status_code not in call.accepted:
        raise error_of(answer)
    try:
        return call.parse(answer)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenAnswer(f"The answer to {call.method} {call.path} lacks what it should say.") from error


def not_reachable(address: Address, reason: str) -> NotReachable:
    """The error for a connection that did not come about."""
    return NotReachable(f"No Pagepool service answers at {address} ({reason}).")


def answer_late(address: Address) -> AnswerTimedOut:
    """The error for an answer, or a free connection, that did not come in time."""
    return AnswerTimedOut(f"The service at {address} did not answer in time.")


def answer_cut(address: Address, reason: str) -> NoAnswer:
    """The error for an answer that ended before its end."""
    return NoAnswer(f"The connection to {address} was cut before the answer was whole ({reason}).")
