"""Between a call and httpx: where the service is, what a request bears, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import httpx

from pagepool_client.answers import error_of
from pagepool_client.calls import Call
from pagepool_client.errors import AnswerTimedOut, BrokenAnswer, NoAnswer, NotReachable
from pagepool_client.version import __version__

T = TypeVar("T")

_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens: `http://host:port`, `https://…`, or `unix:/path/of.sock`."""

    url: str
    uds: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            ValueError: it is neither an HTTP URL, of a host and at most a path, nor a socket's path.
        """
        scheme, _, rest = text.partition(":")
        if scheme == "unix":
            path = rest.removeprefix("//")
            if path.startswith("/") and "\0" not in path:
                return cls("http://localhost", path)
        elif scheme in {"http", "https"} and _is_of_host(text):
            return cls(text.rstrip("/"), None)
        raise ValueError(f"{text!r} is not an address: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")

    def __str__(self) -> str:
        return self.url if self.uds is None else f"unix:{self.uds}"

    def headers(self, token: str | None) -> dict[str, str]:
        """What every request bears.

        Compressed answers are not asked for: the bytes that come are the bytes that are counted.

        Raises:
            ValueError: the token cannot stand in a header.
        """
        headers = {"User-Agent": f"pagepool-client/{__version__}", "Accept-Encoding": "identity"}
        if token:
            if not token.isprintable() or not token.isascii():
                raise ValueError("A token is printable ASCII without line breaks.")
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _is_of_host(text: str) -> bool:
    """Whether paths can be put after a URL, and nothing in it would be lost."""
    try:
        url = httpx.URL(text)
        url.host.encode("idna")  # as the socket will
    except (httpx.InvalidURL, UnicodeError):
        return False
    is_port = url.port is None or 0 < url.port <= _LAST_PORT
    return bool(url.host) and is_port and not (url.userinfo or "?" in text or "#" in text)


def request_options(call: Call[Any], address: Address, headers: Mapping[str, str]) -> dict[str, Any]:
    """A call as the arguments that `httpx.Request` and httpx's clients have in common."""
    return {
        "method": call.method,
        "url": address.url + call.path,
        "params": dict(call.params) or None,
        "headers": {**headers, **call.headers},
        "content": call.content,
    }


def read_answer(call: Call[T], answer: httpx.Response) -> T:
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


def no_answer(cause: httpx.TransportError, address: Address) -> NoAnswer:
    """The error for a request that httpx could not bring to its end."""
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout):
        return NotReachable(f"No Pagepool service answers at {address} ({cause}).")
    if isinstance(cause, httpx.TimeoutException):
        return AnswerTimedOut(f"The service at {address} did not answer in time.")
    return NoAnswer(f"The connection to {address} was cut before the answer was whole ({cause}).")
