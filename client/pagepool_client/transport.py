"""The sync client's way to the network: httpx's transport interface over plain sockets.

httpx's own transport reads an answer in pieces of 64 KiB through four layers; for extents of megabytes that took three
quarters of the client's time. Here the standard library parses the head, and a body is received into one buffer and
sent by one call. An answer is read whole, which suits this protocol: none is larger than an extent. A connection serves
one request at a time; what is idle is kept, the freshest used first, and dropped if the service has closed it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from http.client import HTTPException, HTTPResponse
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from pathlib import Path

Origin = tuple[str, str, int]

_JOINED_BYTES = 1 << 16
"""Up to this size head and body leave in one write; beyond it a second write costs less than the copy."""


class SocketTransport(httpx.BaseTransport):
    """HTTP/1.1 over TCP, TLS or a Unix socket, at most `max_connections` at once."""

    def __init__(
        self, *, uds: str | Path | None = None, ssl_context: ssl.SSLContext | None = None, max_connections: int = 16
    ) -> None:
        self._uds = None if uds is None else str(uds)
        self._ssl_context = ssl_context
        self._places = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._idle: list[tuple[Origin, socket.socket]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole answer."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        url = request.url
        origin = (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
        message = _head(request)
        body = request.read()
        if not self._places.acquire(timeout=-1 if (patience := timeouts.get("pool")) is None else patience):
            raise httpx.PoolTimeout("No connection became free.", request=request)
        try:
            connection = self._idle_connection(origin) or self._connect(request, origin, timeouts.get("connect"))
            answered = False
            try:
                answer, content = _exchange(request, connection, message, body, timeouts)
                answered = not answer.will_close
            finally:
                if answered:
                    with self._lock:
                        self._idle.append((origin, connection))
                else:
                    connection.close()
        finally:
            self._places.release()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=content)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _idle_connection(self, origin: Origin) -> socket.socket | None:
        while True:
            with self._lock:
                index = next((i for i in reversed(range(len(self._idle))) if self._idle[i][0] == origin), None)
                if index is None:
                    return None
                connection = self._idle.pop(index)[1]
            probe = poll()
            probe.register(connection, POLLIN)
            if not probe.poll(0):
                return connection
            connection.close()  # readable while idle: the service has closed it

    def _connect(self, request: httpx.Request, origin: Origin, timeout: float | None) -> socket.socket:
        scheme, host, port = origin
        try:
            if self._uds is None:
                connection = socket.create_connection((host, port), timeout)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(timeout)
                try:
                    connection.connect(self._uds)
                except OSError:
                    connection.close()
                    raise
            if scheme == "https":
                context = self._ssl_context or ssl.create_default_context()
                connection = context.wrap_socket(connection, server_hostname=host)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error), request=request) from error
        except OSError as error:
            raise httpx.ConnectError(error.strerror or str(error), request=request) from error
        return connection


def _head(request: httpx.Request) -> bytes:
    """The request's head as it goes out.

    Raises:
        httpx.LocalProtocolError: a header's value would end its line.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    for name, value in request.headers.raw:
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise httpx.LocalProtocolError(f"The header {name.decode('ascii')} holds a line break.", request=request)
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join((*lines, b"", b""))


def _exchange(
    request: httpx.Request, connection: socket.socket, message: bytes, body: bytes, timeouts: dict[str, Any]
) -> tuple[HTTPResponse, bytes]:
    try:
        connection.settimeout(timeouts.get("write"))
        try:
            if len(body) <= _JOINED_BYTES:
                connection.sendall(message + body)
            else:
                connection.sendall(message)
                connection.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have refused the body half-way, and said why before it closed
        connection.settimeout(timeouts.get("read"))
        answer = HTTPResponse(connection, method=request.method)
        answer.begin()
        return answer, answer.read()
    except TimeoutError as error:
        raise httpx.ReadTimeout("Timed out.", request=request) from error
    except (HTTPException, OSError) as error:
        raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
