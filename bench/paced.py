"""A paced load in a process of its own: `python -m bench.paced PORT FILE RATE SECONDS CONNECTIONS`.

Requests fall due at even distances whether or not the earlier ones were answered (an open loop), and a latency counts
from the moment a request was due: a server that stalls pays for every request that it kept from being sent. Prints one
line of JSON, times in seconds. FILE is what bench.load.prepare writes.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measurement import BenchError, percentile
from bench.servers import run_module

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WARM_UP_SHARE = 0.1
_GIVE_UP_SECONDS = 10
_RECEIVE_BYTES = 16384


@dataclass(slots=True)
class Exchange:
    """A connection: when its request fell due, and what of the answer has come."""

    connection: socket.socket
    due: float = 0.0
    answer: bytes = b""

    def receive(self) -> bool:
        """Take what has come; True once the answer is whole.

        Raises:
            BenchError: the connection closed, or the answer is an error.
        """
        data = self.connection.recv(_RECEIVE_BYTES)
        if not data:
            raise BenchError("the server closed a connection")
        answer = self.answer + data if self.answer else data
        end = answer.find(b"\r\n\r\n")
        if end >= 0:
            if answer[9:10] != b"2":
                raise BenchError(f"the server answered {answer[:60]!r}")
            length = _LENGTH.search(answer, 0, end)
            if len(answer) >= end + 4 + (int(length[1]) if length else 0):
                self.answer = b""
                return True
        self.answer = answer
        return False


def read_requests(file: Path) -> list[bytes]:
    """The requests of a prepared file."""
    data = file.read_bytes()
    requests = []
    position = 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        requests.append(data[start:position])
    return requests


def run(port: int, requests: list[bytes], rate: float, seconds: float, connections: int) -> dict[str, float]:
    """Latencies of the requests that fell due after a warm-up of a tenth of the time."""
    exchanges = [Exchange(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
    by_number = {exchange.connection.fileno(): exchange for exchange in exchanges}
    events = select.epoll()
    for number, exchange in by_number.items():
        exchange.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        events.register(number, select.EPOLLIN)
    idle = deque(exchanges)
    latencies = array("d")
    total = int(rate * seconds)
    sent = 0
    clock = time.perf_counter
    start = clock() + 0.01
    warm = start + seconds * _WARM_UP_SHARE
    gc.disable()
    while sent < total or len(idle) < connections:
        now = clock()
        while idle and sent < total and (due := start + sent / rate) <= now:
            exchange = idle.popleft()
            exchange.due = due
            exchange.connection.sendall(requests[sent % len(requests)])
            sent += 1
        wait = start + sent / rate - clock() if sent < total and idle else _GIVE_UP_SECONDS
        # epoll alone would round the wait up to milliseconds; select takes microseconds.
        if not select.select((events,), (), (), max(0.0, wait))[0]:
            if wait == _GIVE_UP_SECONDS:
                raise BenchError("the server does not answer")
            continue
        for number, _ in events.poll(0):
            exchange = by_number[number]
            if exchange.receive():
                if exchange.due >= warm:
                    latencies.append(clock() - exchange.due)
                idle.append(exchange)
    elapsed = clock() - start
    for exchange in exchanges:
        exchange.connection.close()
    ordered = sorted(latencies)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {"rate": total / elapsed, **{name: percentile(ordered, share) for name, share in shares.items()}}


def in_own_process(port: int, file: Path, rate: float, seconds: float, connections: int) -> dict[str, float]:
    """As `run`, in another process.

    Raises:
        BenchError: it failed there.
    """
    arguments = [str(port), str(file), f"{rate:.1f}", f"{seconds:.1f}", str(connections)]
    found: dict[str, float] = json.loads(run_module("bench.paced", arguments))
    return found


def main(arguments: list[str]) -> Any:
    port, file, rate, seconds, connections = arguments
    print(json.dumps(run(int(port), read_requests(Path(file)), float(rate), float(seconds), int(connections))))


if __name__ == "__main__":
    main(sys.argv[1:])
