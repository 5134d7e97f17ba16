"""Load: prepared requests, wrk to send them, and one request at a time to fill and to check."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measurement import BenchError
from bench.servers import executable

_SCRIPT = Path(__file__).with_name("wrk_requests.lua")
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request of a load."""

    method: str
    path: str
    body: bytes | None = None

    def encode(self) -> bytes:
        """Its bytes on the wire."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if self.body is None:
            return f"{head}\r\n".encode()
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


def prepare(requests: Iterable[Request], file: Path) -> Path:
    """Write requests as wrk_requests.lua reads them."""
    with file.open("wb") as output:
        for request in requests:
            data = request.encode()
            output.write(len(data).to_bytes(4, "little") + data)
    return file


def wrk_command(port: int, requests: Path, seconds: float, connections: int) -> list[str]:
    """The command that sends prepared requests from one wrk thread; wrk takes whole seconds only.

    Raises:
        BenchError: wrk is missing.
    """
    program = executable("wrk")
    if program is None:
        raise BenchError("wrk is not installed")
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(_SCRIPT)]
    return [program, *options, f"http://127.0.0.1:{port}", "--", str(requests)]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a load got through."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def wrk_result(output: str) -> Sent:
    """What a load got through, from what wrk_requests.lua printed.

    Raises:
        BenchError: wrk failed, or any answer was an error.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchError(f"wrk failed: {output[-300:]}")
    summary = json.loads(lines[-1])
    if summary["status_errors"] or summary["socket_errors"] or not summary["requests"]:
        raise BenchError(f"wrk saw errors: {summary}")
    return Sent(summary["requests"], summary["seconds"])


def wrk(port: int, requests: Path, seconds: float, connections: int = CONNECTIONS) -> Sent:
    """Send prepared requests from one wrk thread on keep-alive connections, as fast as they are answered.

    Raises:
        BenchError: wrk is missing or failed, or any answer was an error.
    """
    command = wrk_command(port, requests, seconds, connections)
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return wrk_result(run.stdout)


class Client:
    """One keep-alive connection, one request at a time: to fill a server and to look at what it answers."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, request: Request, media_type: str = "application/octet-stream") -> bytes:
        """The answer's body.

        Raises:
            BenchError: the answer is an error, or there is none.
        """
        headers = {"Content-Type": media_type} if request.body is not None else {}
        try:
            self._connection.request(request.method, request.path, request.body, headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"{request.method} {request.path}: {error!r}") from error
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise BenchError(f"{request.method} {request.path}: {answer.status} {body[:200]!r}")
        return body

    def get_json(self, path: str) -> dict[str, int | float | None]:
        """A JSON answer."""
        found: dict[str, int | float | None] = json.loads(self.send(Request("GET", path)))
        return found

    def send_json(self, method: str, path: str, body: object) -> bytes:
        """Send a JSON body; the answer's body."""
        return self.send(Request(method, path, json.dumps(body).encode()), "application/json")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def fill_and_check(port: int, stores: Sequence[Request], loads: Sequence[Request]) -> None:
    """Send all stores, then compare every load's answer with the body that was stored; closes its connection.

    Raises:
        BenchError: an error, or other bytes.
    """
    client = Client(port)
    try:
        for store in stores:
            client.send(store)
        for store, load in zip(stores, loads, strict=True):
            if client.send(load) != store.body:
                raise BenchError(f"{load.path} answered other bytes than were stored")
    finally:
        client.close()
