"""HTTP by hand: any bytes out, and a parser that forgives nothing in what comes back."""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

READ_SECONDS = 10.0
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\x20-\x7e]*)")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)")


class BrokenAnswer(AssertionError):
    """The service sent what is not HTTP/1.1, or ended in the middle of it."""


@dataclass(frozen=True)
class RawResponse:
    """One response as it stood on the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    by_name: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """The value of a header that is there at most once."""
        return self.by_name.get(name.lower())

    @property
    def says_close(self) -> bool:
        """Whether it announces the end of the connection."""
        return (self.header("connection") or "").lower() == "close"


class RawConnection:
    """One connection to the service."""

    def __init__(self, address: tuple[str, int] | Path, timeout: float = READ_SECONDS) -> None:
        if isinstance(address, Path):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            try:
                self.socket.connect(str(address))
            except OSError:
                self.socket.close()
                raise
        else:
            self.socket = socket.create_connection(address, timeout)
        self.timeout = timeout
        self.buffer = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def send_while_taken(self, data: bytes) -> bool:
        """Send it, or say False when the service has closed its side."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def half_close(self) -> None:
        """Say that no more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise BrokenAnswer(f"nothing came for {self.timeout} s; so far {self.buffer[:200]!r}") from None
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise BrokenAnswer(f"the connection ended in a line: {self.buffer[:200]!r}")
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        if b"\n" in line or b"\r" in line:
            raise BrokenAnswer(f"a bare CR or LF in {line!r}")
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self._fill():
                raise BrokenAnswer(f"the connection ended {count - len(self.buffer)} bytes short of the body")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _chunks(self) -> bytes:
        body = b""
        while True:
            match = _CHUNK_LINE.fullmatch(self._line())
            if match is None:
                raise BrokenAnswer("a chunk without its size")
            size = int(match[1], 16)
            if not size:
                while self._line():
                    pass
                return body
            body += self._exactly(size)
            if self._line():
                raise BrokenAnswer("a chunk that is longer than it says")

    def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers of the next response, interim ones included."""
        match = _STATUS_LINE.fullmatch(line := self._line())
        if match is None:
            raise BrokenAnswer(f"no status line: {line!r}")
        headers = []
        while line := self._line():
            pair = _HEADER_LINE.fullmatch(line)
            if pair is None:
                raise BrokenAnswer(f"no header line: {line!r}")
            headers.append((pair[1].decode("ascii").lower(), pair[2].decode("latin-1")))
        return int(match[1]), headers

    def read(self, method: str = "GET") -> RawResponse:
        """The next response, which answers a request of `method`."""
        status, headers = self.read_head()
        names = [name for name, _ in headers]
        for once in ("content-length", "transfer-encoding", "content-type", "etag", "x-request-id", "connection"):
            if names.count(once) > 1:
                raise BrokenAnswer(f"{once} twice")
        by_name = dict(headers)
        if status < 200:
            return RawResponse(status, headers, b"", by_name)
        if "content-length" in by_name and "transfer-encoding" in by_name:
            raise BrokenAnswer("both Content-Length and Transfer-Encoding")
        if status == 204 and ("content-length" in by_name or "transfer-encoding" in by_name):
            raise BrokenAnswer("a 204 with a framing header (RFC 9110, 8.6)")
        if method == "HEAD" or status in {204, 304}:
            body = b""
        elif "transfer-encoding" in by_name:
            body = self._chunks()
        elif "content-length" in by_name:
            body = self._exactly(int(by_name["content-length"]))
        else:
            while self._fill():
                pass
            body, self.buffer = self.buffer, b""
        return RawResponse(status, headers, body, by_name)

    def is_closed(self) -> bool:
        """Whether the service closes the connection, with nothing more sent before; waits as long as for an answer."""
        return not self.buffer and not self._fill()

    def is_quiet(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def received_before_close(self) -> bytes:
        """All that comes until the service closes."""
        deadline = time.monotonic() + self.timeout
        while self._fill():
            if time.monotonic() > deadline:
                raise BrokenAnswer("the connection does not end")
        return self.buffer

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def request(method: str, target: str, body: bytes | None = None, *headers: str, host: str = "127.0.0.1") -> bytes:
    """The bytes of a plain request; octet-stream and Content-Length are set where there is a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body is not None:
        lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(body: bytes, *sizes: int) -> bytes:
    """A body in chunks of these sizes, the rest in one more, and the last chunk."""
    parts = []
    for size in [*sizes, len(body)]:
        piece, body = body[:size], body[size:]
        if piece:
            parts.append(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    return b"".join(parts) + b"0\r\n\r\n"
