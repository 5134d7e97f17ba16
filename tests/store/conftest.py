"""Every redis-server that is at hand: what scripts and connections do must not depend on its version."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest.mock import patch

import pytest

from tests.harness import redis_server
from tests.harness.redis_server import RedisServer


def binaries() -> dict[str, str]:
    """Paths by version: the one that the tests run by default, and the one on PATH."""
    found = {}
    for path in (redis_server.binary(), shutil.which("redis-server")):
        if path is not None:
            words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()
            version = next(word.removeprefix("v=") for word in words if word.startswith("v="))
            found.setdefault(version, path)
    return found


def _versions() -> list[object]:
    """The default one runs in every test run."""
    first, *others = binaries()
    return [first, *(pytest.param(other, marks=pytest.mark.soak) for other in others)]


@pytest.fixture(scope="session", params=_versions())
def redis_binary(request: pytest.FixtureRequest) -> str:
    """The path of a redis-server; each test runs on all of them."""
    return binaries()[request.param]


@pytest.fixture(scope="session")
def server(redis_binary: str) -> Iterator[RedisServer]:
    """A running Redis of each version, shared by the session."""
    with patch.object(redis_server, "binary", lambda: redis_binary), RedisServer() as running:
        yield running


@pytest.fixture
def start_server() -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis for one test alone."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RedisServer(**options))
