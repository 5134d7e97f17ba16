from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from app.embedded.data_directory import LOG_BYTES_KEPT, DataDirectory
from app.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable, StartCancelled
from app.settings import Persistence

HOLD = """
import os, subprocess, sys
from pathlib import Path
from app.embedded.data_directory import DataDirectory
held = DataDirectory.acquire(Path(sys.argv[1]), lambda: False)
# A child that inherits the lock, as redis-server does, and outlives the service that took it.
child = subprocess.Popen(["cat"], stdin=sys.stdin, stdout=subprocess.DEVNULL, pass_fds=[held.lock_fd])
print(os.getpid(), child.pid, flush=True)
os._exit(0)
"""


def never() -> bool:
    return False


def test_it_is_made_private(home):
    """A data directory is made with mode 0700, its parents as needed."""
    directory = DataDirectory.acquire(home / "a" / "b", never)
    assert directory.path.stat().st_mode & 0o777 == 0o700
    directory.release()


def test_a_directory_that_lives_is_refused_at_once(home):
    """While its service lives, a data directory is refused, and the refusal says which, who, and what to do."""
    directory = DataDirectory.acquire(home, never)
    with pytest.raises(DataDirectoryInUse, match=rf"pid {os.getpid()}\) .*{home}: stop it, .*PAGEPOOL_DATA_DIR"):
        DataDirectory.acquire(home, never)
    directory.release()
    DataDirectory.acquire(home, never).release()


def test_the_lock_lasts_as_long_as_whoever_inherited_it(home):
    """The Redis of a service that is dead holds the lock; the next service waits for it, and has the lock then."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        holder.wait(20)
        acquired: list[DataDirectory] = []
        taker = threading.Thread(target=lambda: acquired.append(DataDirectory.acquire(home, never)))
        taker.start()
        taker.join(0.3)
        assert not acquired
        holder.stdin.close()
        taker.join(20)
        assert acquired
        acquired[0].release()


def test_waiting_for_the_lock_can_be_cancelled(home):
    """A service that is told to end while it waits for a dead service's Redis ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.wait(20)
        with pytest.raises(StartCancelled):
            DataDirectory.acquire(home, lambda: True)


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path):
    """A data directory that cannot be made is refused with its name, the reason and the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryUnusable, match=r"file/below .*Not a directory.*PAGEPOOL_DATA_DIR"):
        DataDirectory.acquire(tmp_path / "file" / "below", never)


@pytest.mark.parametrize("name", ["appendonlydir", "appendonly.aof", "dump.rdb"])
def test_kept_pages_are_not_run_over(home, name):
    """Pages that an earlier run kept are neither ignored nor left to come back stale: persistence none refuses them."""
    directory = DataDirectory.acquire(home, never)
    directory.check_persistence(Persistence.NONE)
    (home / name).mkdir()
    directory.check_persistence(Persistence.EVERYSEC)
    directory.check_persistence(Persistence.ALWAYS)
    with pytest.raises(DataDirectoryUnusable, match=rf"PAGEPOOL_PERSISTENCE=everysec.*remove {home / name}"):
        directory.check_persistence(Persistence.NONE)
    directory.release()


def test_a_long_log_is_set_aside(home):
    """Redis's log does not grow from run to run without end."""
    DataDirectory.acquire(home, never).release()
    (home / "redis.log").write_bytes(b"x" * (LOG_BYTES_KEPT + 1))
    DataDirectory.acquire(home, never).release()
    assert not (home / "redis.log").exists()
    assert (home / "redis.log.1").exists()
