"""Stores of many connections whose bodies become whole at the same moment."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from tests.faults.world import children_of, command_of
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.raw_http import request
from tests.harness.redis_server import until

CLIENTS = 300
"""More than the reply of one script can number."""


def is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()


def in_flight(area: Area) -> float:
    return area.service.metrics().value("pagepool_requests_in_flight")


def test_bodies_behind_their_heads(area: Area) -> None:
    """Heads first, then all bodies at once, into one chunk run: each is answered, and each page is there."""
    area.store(0, *[pages.incompressible(0)] * 512)
    bodies = [pages.incompressible(number) for number in range(CLIENTS)]
    with ExitStack() as stack:
        clients = [stack.enter_context(area.service.raw()) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.send(request("PUT", area.url(number), bodies[number])[:-4096])
        until(lambda: in_flight(area) >= CLIENTS, 20, "all heads have been read")
        workers = [pid for pid in children_of(area.service.pid) if "app.serve.worker" in command_of(pid)]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: is_stopped(pid), 10, "the worker stands still")
        for number, client in enumerate(clients):
            client.send(bodies[number])
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for client in clients:
            status, _ = client.read_head()
            assert status == 204
    assert area.load_pages(0, CLIENTS) == bodies
