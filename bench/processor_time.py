"""Processor time that a server takes, Redis apart: what tells peers from each other also on a shared machine."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bench.load import Sent
from bench.measurement import Section


class Spent(NamedTuple):
    """Seconds of processor time, user and system."""

    server: float
    redis: float


def _read_processes() -> dict[int, tuple[int, str, float]]:
    """Every process: its parent, its name, and the processor time that it has taken."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it has ended
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        fields = stat[stat.rindex(")") + 2 :].split()
        found[int(folder.name)] = int(fields[1]), name, (int(fields[11]) + int(fields[12])) / tick
    return found


def spent_by(roots: Iterable[int]) -> Spent:
    """What these processes and all below them have taken."""
    processes = _read_processes()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, _, _) in processes.items():
        children[parent].append(pid)
    server = redis = 0.0
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        if pid in processes:
            _, name, seconds = processes[pid]
            if name.startswith("redis"):
                redis += seconds
            else:
                server += seconds
    return Spent(server, redis)


class CostedLoad:
    """A load that notes, each time it is run, the processor time of the server and of Redis for a unit of work."""

    def __init__(self, load: Callable[[], Sent], roots: Iterable[int], units_a_request: int = 1) -> None:
        self._load = load
        self._roots = tuple(roots)
        self._units = units_a_request
        self.server: list[float] = []
        self.redis: list[float] = []

    def __call__(self) -> float:
        """Run the load; units a second."""
        before = spent_by(self._roots)
        sent = self._load()
        after = spent_by(self._roots)
        units = sent.requests * self._units
        self.server.append((after.server - before.server) / units * 1e6)
        self.redis.append((after.redis - before.redis) / units * 1e6)
        return sent.rate * self._units


def add_costs(section: Section, task: str, unit: str, loads: dict[str, Callable[[], float]]) -> None:
    """Add what the loads noted: a row for the servers, a row for Redis."""
    costed = {peer: load for peer, load in loads.items() if isinstance(load, CostedLoad) and load.server}
    servers = {peer: load.server for peer, load in costed.items()}
    section.add(f"{task}, CPU of the server", f"µs/{unit}", servers, lower_is_better=True)
    redis = {peer: load.redis for peer, load in costed.items()}
    section.add(f"{task}, CPU of Redis", f"µs/{unit}", redis, lower_is_better=True)
