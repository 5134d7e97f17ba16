"""The stock HTTP protocol behind the door: it answers the requests that the door declines.

The door keeps the connection; the inner protocol is given bytes, and writes its answers to the same transport. Between
two requests the door may take the connection back, if the inner protocol holds nothing of a next one. That is read off
four public attributes of uvicorn's class; `tests/serve/test_uvicorn_contract.py` says when a version breaks it.
"""

from __future__ import annotations

from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.api.error_responses import problem
from app.errors import BadRequest

NO_KEEP_ALIVE_LIMIT_SECONDS: Final = 10**8
"""Given to uvicorn as its keep-alive limit under the door, which has its own."""


class InnerProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a request that is no HTTP is refused in the form of all other errors."""

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, and close."""
        _, headers, body = problem(BadRequest(msg), is_store=False)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n" + lines + b"\r\n" + body)
        self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether every request that came has been answered, and nothing of a next one is held."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            cycle is not None
            and cycle.response_complete
            and not cycle.more_body
            and not self.pipeline
            and self.scope is cycle.scope
        )

    @property
    def awaits_body(self) -> bool:
        """Whether the request being answered has not come whole."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.more_body and not cycle.response_complete


def stand_for(state: ServerState, door: object, inner: InnerProtocol) -> None:
    """Uvicorn counts and closes connections by these objects: the door stands for its inner protocol."""
    state.connections.discard(inner)
    state.connections.add(cast("HttpToolsProtocol", door))
