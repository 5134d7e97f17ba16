"""What the figures were measured on: machine, kernel, versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.measurement import BenchError
from bench.servers import executable, redis_server, redis_version

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "hiredis", "redis", "lz4", "xxhash")
_VERSION_COMMANDS = {
    "wrk": ["-v"],
    "nbdkit": ["--version"],
    "nbdcopy": ["--version"],
    "nginx": ["-v"],
    "fio": ["--version"],
}
_BUSY_SHARE = 0.25
PEERS = ("webdis", *_VERSION_COMMANDS)


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"model name\s*: (.*)", text)
    return match[1] if match else platform.machine()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _program_version(name: str) -> str | None:
    program = executable(name)
    if program is None:
        return None
    if name == "webdis":  # it has no option for it, and serves whatever it is given
        query = ["dpkg-query", "-W", "-f=${Version}", "webdis"]
        if executable("dpkg-query") is None:
            return "unknown version"
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "unknown version"
    run = subprocess.run([program, *_VERSION_COMMANDS[name]], capture_output=True, text=True, check=False)
    match = re.search(r"\d+(\.\d+)+", run.stdout + run.stderr)
    return match[0] if match else "unknown version"


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def is_busy() -> bool:
    """Whether something else has kept a good part of this machine busy for the last minute."""
    return os.getloadavg()[0] > _BUSY_SHARE * _cores()


def describe() -> dict[str, str]:
    """Name and value, in the order in which they are printed; a peer that is missing says so."""
    try:
        redis = ".".join(map(str, redis_version(redis_server())))
    except BenchError:
        redis = "not installed"
    found = {
        "CPU": f"{_cpu_model()}, {_cores()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "Redis": redis,
    }
    found |= {name: _package_version(name) for name in _PACKAGES}
    found |= {name: _program_version(name) or "not installed" for name in PEERS}
    return found
