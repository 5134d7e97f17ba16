"""The combinations of door, workers and Redis that the contract suite runs on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

import pytest

from tests.harness.redis_server import RedisCluster, RedisServer
from tests.harness.service import Service

DEFAULT = "door"
ASGI = "asgi"
TWO_WORKERS = "two-workers"
UVICORN = "uvicorn"
CLUSTER = "cluster"
COMBINATIONS = (DEFAULT, ASGI, TWO_WORKERS, UVICORN, CLUSTER)
IN_EVERY_RUN = (DEFAULT, ASGI, TWO_WORKERS, CLUSTER)
"""Combinations that `make test` takes the smoke tests through; the others run when asked for."""

HAS_IMAGE_VIEW = find_spec("app.api.image") is not None
needs_image_view = pytest.mark.skipif(not HAS_IMAGE_VIEW, reason="the image view is not built yet")

COMMON = {"max_pool_bytes": "0", "redis_timeout": "5"}


@contextmanager
def deployed(name: str) -> Iterator[Service]:
    """A service on a combination of this name, until the block ends.

    door: the protocol door, one worker, its embedded Redis. asgi: stock uvicorn's door, on a Redis by Unix socket.
    two-workers: two workers, on a Redis by TCP. uvicorn: `uvicorn app.main:create_app`, no supervisor.
    cluster: the protocol door on three masters.
    """
    with ExitStack() as stack:
        command = None
        settings = dict(COMMON)
        if name == ASGI:
            settings |= {"door": "asgi", "redis_url": stack.enter_context(RedisServer()).url}
        elif name == TWO_WORKERS:
            settings |= {"workers": "2", "redis_url": stack.enter_context(RedisServer()).tcp_url}
        elif name == UVICORN:
            command = [
                sys.executable,
                *["-m", "uvicorn", "--factory", "app.main:create_app", "--no-access-log", "--no-server-header"],
            ]
            command += ["--port", "{port}"]
        elif name == CLUSTER:
            settings |= {"redis_url": stack.enter_context(RedisCluster()).url}
        yield stack.enter_context(Service(command, **settings))
