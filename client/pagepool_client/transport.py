"""The sync client's way to the network, over plain sockets.

httpx reads an answer in pieces of 64 KiB through four layers; for extents of megabytes that took three quarters of the
client's time, and to import it takes as long as all else that a command does at its start. Here the standard library
parses the head, and a body is received into one buffer and sent by one call. An answer is read whole, which suits this
protocol: none is larger than an extent. A connection serves one request at a time; what is idle is kept, the freshest
used first, and dropped if the service has closed it.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead
from select import POLLIN, poll
from typing import BinaryIO, cast

from pagepool_client.answers import Answer
from pagepool_client.exchange import Address, answer_cut, answer_late, not_reachable

_JOINED_BYTES = 1 << 16
"""Up to this size head and body leave in one write; beyond it a second write costs less than the copy."""
_LENGTH_DIGITS = 9
"""Of the length that an answer states: far more than an extent has. Whatever says that it is longer is no service."""
_HAVE_BODIES = frozenset({"PUT", "POST", "PATCH"})
_OK = 200


class _Lines(io.BufferedReader):
    """What a connection receives. A line that ends where the connection does is none.

    The standard library takes the connection's end for the end of a head, and what is left of an answer for all of it.
    """

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise IncompleteRead(line)
        return line

    def makefile(self, _mode: str) -> BinaryIO:
        """What HTTPResponse asks of a socket."""
        return cast("BinaryIO", self)


class SocketTransport:
    """HTTP/1.1 over TCP, TLS or a Unix socket to one address, at most `max_connections` at once.

    `timeout`: seconds without progress.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout: float | None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 16,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._ssl_context = ssl_context
        self._places = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._process = os.getpid()

    def exchange(self, method: str, target: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        """Send one request and read its whole answer.

        Raises:
            NotReachable: no connection came about; nothing was sent.
            AnswerTimedOut, NoAnswer: what became of the request is unknown.
            ValueError: the target, or a header's value, is not printable ASCII.
        """
        message = self._head(method, target, headers, content)
        if not self._places.acquire(timeout=-1 if self._timeout is None else self._timeout):
            raise answer_late(self._address)
        try:
            connection = self._idle_connection() or self._connect()
            is_kept = False
            try:
                answer, is_kept = self._send_and_read(connection, method, message, content or b"")
            finally:
                if is_kept:
                    with self._lock:
                        self._idle.append(connection)
                else:
                    connection.close()
        finally:
            self._places.release()
        return answer

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _head(self, method: str, target: str, headers: Mapping[str, str], content: bytes | None) -> bytes:
        if not (target.isascii() and target.isprintable()) or " " in target:
            raise ValueError(f"{target!r} is not the path of a request.")
        lines = [f"{method} {self._address.prefix}{target} HTTP/1.1", f"Host: {self._address.authority}"]
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"The header {name} is to be printable ASCII.")
            lines.append(f"{name}: {value}")
        if content is not None or method in _HAVE_BODIES:
            lines.append(f"Content-Length: {len(content or b'')}")
        return "\r\n".join((*lines, "", "")).encode("ascii")

    def _idle_connection(self) -> socket.socket | None:
        while True:
            with self._lock:
                if (
                    self._process != os.getpid()
                ):  # after a fork the connections are the other process's; these are copies
                    for copy in self._idle:
                        copy.close()
                    self._idle, self._process = [], os.getpid()
                if not self._idle:
                    return None
                connection = self._idle.pop()
            probe = poll()
            probe.register(connection, POLLIN)
            if not probe.poll(0):
                return connection
            connection.close()  # readable while idle: the service has closed it

    def _connect(self) -> socket.socket:
        address = self._address
        try:
            if address.uds is None:
                connection = socket.create_connection((address.host, address.port), self._timeout)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(self._timeout)
                try:
                    connection.connect(address.uds)
                except OSError:
                    connection.close()
                    raise
            if address.is_tls:
                context = self._ssl_context or ssl.create_default_context()
                try:
                    connection = context.wrap_socket(connection, server_hostname=address.host)
                except OSError:
                    connection.close()
                    raise
        except OSError as error:
            raise not_reachable(address, error.strerror or str(error)) from error
        return connection

    def _send_and_read(
        self, connection: socket.socket, method: str, message: bytes, content: bytes
    ) -> tuple[Answer, bool]:
        """The answer, and whether the connection serves another request."""
        try:
            try:
                if len(content) <= _JOINED_BYTES:
                    connection.sendall(message + content)
                else:
                    connection.sendall(message)
                    connection.sendall(content)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have refused the body half-way, and said why before it closed
            with _Lines(socket.SocketIO(connection, "r")) as received:
                return _read(received, method)
        except TimeoutError as error:
            raise answer_late(self._address) from error
        except (HTTPException, OSError) as error:
            raise answer_cut(self._address, str(error) or type(error).__name__) from error


def _read(received: _Lines, method: str) -> tuple[Answer, bool]:
    """One answer after those that only announce it (100, 103), and whether the connection outlives it."""
    while True:
        # It is made for a socket, and asks of it nothing but `makefile`.
        response = HTTPResponse(cast("socket.socket", received), method=method)
        response.begin()
        if response.status >= _OK:
            break
        response.fp = cast("io.BufferedReader", None)  # or what announced the answer would close what it comes from
    stated: list[str] = response.headers.get_all("Content-Length", [])
    if not (response.chunked or all(map(_is_length, stated))):
        raise HTTPException(f"its length is {', '.join(stated)[:40]}")
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body), not response.will_close


def _is_length(stated: str) -> bool:
    digits = stated.strip()
    return digits.isdecimal() and len(digits) <= _LENGTH_DIGITS
