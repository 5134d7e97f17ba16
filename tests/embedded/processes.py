"""Looking at real processes from outside: who lives, who descends from whom."""

from __future__ import annotations

import subprocess


def _table() -> list[tuple[int, int, str, str]]:
    answer = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, check=True, text=True, timeout=20
    )
    rows = (line.split(None, 3) for line in answer.stdout.splitlines())
    return [(int(row[0]), int(row[1]), row[2], row[3] if len(row) > 3 else "") for row in rows]


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and waits to be reaped does not."""
    return any(row[0] == pid and not row[2].startswith("Z") for row in _table())


def descendants(pid: int) -> dict[int, str]:
    """Command lines of all processes below `pid`, by pid."""
    table = [row for row in _table() if not row[2].startswith("Z")]
    found: dict[int, str] = {}
    above = {pid}
    while above:
        below = {row[0]: row[3] for row in table if row[1] in above}
        found |= below
        above = set(below)
    return found


def pids_of(processes: dict[int, str], word: str) -> list[int]:
    """Those whose command line has `word`, oldest first."""
    return sorted(pid for pid, command in processes.items() if word in command)
