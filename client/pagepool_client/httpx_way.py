"""The way through httpx: the async client's, and the sync client's where it is given a transport of httpx's.

httpx is imported here and in the async client only: it takes longer than all else that a command does at its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from pagepool_client.answers import Answer
from pagepool_client.calls import Call
from pagepool_client.errors import NoAnswer
from pagepool_client.exchange import Address, answer_cut, answer_late, not_reachable


class HttpxTransport:
    """A transport of httpx's, with the methods of `SocketTransport`."""

    def __init__(self, transport: httpx.BaseTransport, address: Address, timeout: float | None) -> None:
        self._transport = transport
        self._address = address
        self._timeouts = httpx.Timeout(timeout).as_dict()

    def exchange(self, method: str, target: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        """As `SocketTransport.exchange`."""
        request = httpx.Request(
            method, self._address.url + target, headers=headers, content=content, extensions={"timeout": self._timeouts}
        )
        try:
            answer = self._transport.handle_request(request)
            try:
                answer.read()
            finally:
                answer.close()
        except httpx.TransportError as cause:
            raise no_answer(cause, self._address) from cause
        return answer_of(answer)

    def close(self) -> None:
        """Close it."""
        self._transport.close()


def request_arguments(call: Call[Any], address: Address, headers: Mapping[str, str]) -> dict[str, Any]:
    """A call as `httpx.AsyncClient.request` takes it."""
    return {
        "method": call.method,
        "url": address.url + call.target,
        "headers": {**headers, **call.headers},
        "content": call.content,
    }


def answer_of(answer: httpx.Response) -> Answer:
    """The answer, its names in lower case."""
    return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content)


def no_answer(cause: httpx.TransportError, address: Address) -> NoAnswer:
    """The error for a request that httpx could not bring to its end."""
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout):
        return not_reachable(address, str(cause))
    return answer_late(address) if isinstance(cause, httpx.TimeoutException) else answer_cut(address, str(cause))
