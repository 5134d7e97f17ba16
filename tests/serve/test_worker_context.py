from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.serve.worker_context import VARIABLE, WorkerContext, settings_variables
from app.settings import Settings

CONTEXT = WorkerContext(
    index=1,
    workers=3,
    is_restart=True,
    application="module:function",
    listen_fds=(5, 6),
    death_fd=7,
    ready_fd=8,
    telemetry_fd=9,
    redis_socket=Path("/tmp/redis.sock"),
)
SETTINGS = {
    "port": 0,
    "workers": 3,
    "door": "asgi",
    "uds": Path("/run/pagepool.sock"),
    "allowed_hosts": ("one.example", "two.example"),
    "redis_url": "rediss://user:secret@redis.example:6380/2",
    "access_log": True,
    "enabled": False,
    "compressor": "zstd",
    "persistence": "always",
    "redis_timeout": 0.25,
    "max_pool_bytes": 1 << 40,
    "tokens_file": None,
}


@pytest.fixture
def bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.upper().startswith("PAGEPOOL_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("bare_environment")
def test_settings_arrive_in_a_worker_as_they_are(monkeypatch):
    """A worker reads the very settings of its service, secrets and what was set explicitly included."""
    settings = Settings(_env_file=None, **SETTINGS)
    for name, value in settings_variables(settings).items():
        monkeypatch.setenv(name, value)
    arrived = Settings(_env_file=None)
    assert arrived == settings
    assert arrived.model_fields_set == settings.model_fields_set - {"tokens_file"}


@pytest.mark.usefixtures("bare_environment")
def test_a_context_arrives_in_a_worker_as_it_is(monkeypatch):
    """A worker's context survives the way through the environment."""
    environment = CONTEXT.environment(Settings(_env_file=None), {})
    monkeypatch.setenv(VARIABLE, environment[VARIABLE])
    assert WorkerContext.from_environment() == CONTEXT


@pytest.mark.usefixtures("bare_environment")
def test_what_was_not_set_does_not_reach_a_worker():
    """Variables that the service did not run with, in whatever case, are taken from a worker's environment."""
    environment = CONTEXT.environment(
        Settings(_env_file=None, port=1), {"pagepool_port": "2", "PAGEPOOL_WORKERS": "9", "HOME": "/home/x"}
    )
    assert {name: value for name, value in environment.items() if name != VARIABLE} == {
        "PAGEPOOL_PORT": "1",
        "HOME": "/home/x",
    }


def test_there_is_no_context_under_a_foreign_server(monkeypatch):
    """Under any other ASGI server there is no context."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert WorkerContext.from_environment() is None


@pytest.mark.parametrize(
    ("index", "is_restart", "writes"), [(0, False, True), (0, True, False), (1, False, False), (1, True, False)]
)
def test_one_worker_writes_the_tunables_once(index, is_restart, writes):
    """The tunables that the environment sets are written by one worker, and never by one that is started again."""
    assert replace(CONTEXT, index=index, is_restart=is_restart).writes_tunables is writes
