"""What the machine or the cgroup gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app import machine
from app.settings import Settings


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The kernel's files, as a test wants them."""
    found: dict[str, str] = {}
    monkeypatch.setattr(machine, "_read", lambda path: found.get(Path(path).name, ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return found


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9900000 100000"}, 8),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 8),
        ({"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, 3),
    ],
)
def test_cpus(files: dict[str, str], quota: dict[str, str], cpus: int) -> None:
    """As many as this process may run on, and no more than the quota's whole CPUs; one at least."""
    files.update(quota)
    assert machine.cpus_given() == cpus


@pytest.mark.parametrize(
    ("cpus", "memory", "workers"),
    [(4, 16 << 30, 4), (64, 2 << 30, 6), (2, 64 << 20, 1), (1024, 1 << 40, 256)],
)
def test_workers(files: dict[str, str], monkeypatch: pytest.MonkeyPatch, cpus: int, memory: int, workers: int) -> None:
    """`auto` is one worker a CPU, no more than the memory holds, and never more than may be asked for."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    monkeypatch.setattr(os, "sysconf", lambda _: 1 << 22)  # a machine larger than any cgroup here
    files["memory.max"] = str(memory)
    assert Settings(_env_file=None, workers="auto").workers == workers


def test_memory(files: dict[str, str]) -> None:
    """The cgroup's limit counts where it is lower than the machine."""
    whole = machine.memory_bytes()
    files["memory.max"] = "1048576"
    assert machine.memory_bytes() == 1 << 20
    files["memory.max"] = "max"
    assert machine.memory_bytes() == whole
