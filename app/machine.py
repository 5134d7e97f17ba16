"""What this process was given of the machine: the cgroup's share, where it is in one."""

from __future__ import annotations

import os
from pathlib import Path

# A worker at rest, and the bodies and answers it may hold with PAGEPOOL_MAX_BYTES_IN_FLIGHT as it is.
WORKER_BYTES = (70 + 256) << 20
MOST_WORKERS = 256


def cpus_given() -> int:
    """CPUs that this process may use, 1 at least: those it may run on, and no more than the cgroup's quota lets it."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not quota:  # cgroup v1
        quota, period = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():
        cpus = min(cpus, int(quota) // int(period))
    return max(1, cpus)


def workers_given() -> int:
    """Workers that can be busy at once in what this process was given: one a CPU, as far as the memory goes."""
    return max(1, min(cpus_given(), memory_bytes() // WORKER_BYTES, MOST_WORKERS))


def memory_bytes() -> int:
    """The memory of this machine, or of the cgroup if that has less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _read(path)
        if limit.isdigit():
            memory = min(memory, int(limit))
    return memory


def _read(path: str) -> str:
    """A file of the kernel's; empty where it has none."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
