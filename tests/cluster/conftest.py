"""One cluster of three masters and three replicas for the session; services on it, each with its own namespace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.topology import TestedCluster
from tests.harness.service import Service

_measured: list[str] = []
_namespaces = (f"pool-{number}" for number in itertools.count(1))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _measured:
        terminalreporter.write_line(line)
    _measured.clear()


@pytest.fixture
def measured() -> Callable[[str], None]:
    """Takes a sentence that the session prints at its end."""
    return _measured.append


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often tests under load repeat their trouble."""
    return 3 if request.config.getoption("--soak") else 1


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[TestedCluster]:
    """Three masters, each with a replica."""
    with TestedCluster(replicas=1) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: TestedCluster) -> Iterator[TestedCluster]:
    """The session's cluster, whole again when the test ends."""
    yield whole_cluster
    whole_cluster.mend()


@pytest.fixture(scope="module")
def on() -> Iterator[Callable[..., Service]]:
    """Starts a service on a Redis URL, with a namespace of its own, until the module's end."""
    with ExitStack() as stack:
        yield lambda url, **settings: stack.enter_context(
            Service(**{"redis_url": url, "namespace": next(_namespaces), "max_pool_bytes": "0", **settings})
        )
