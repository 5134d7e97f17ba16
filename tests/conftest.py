"""Services to test against, one for each combination and session, and a type of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.harness import deployments
from tests.harness.area import NUMBERS, Area
from tests.harness.redis_server import RedisServer
from tests.harness.service import LIVE, Service

SMOKE_CASES = 3
"""Cases of a parametrized smoke test that run on each further combination."""

_types = itertools.count(1_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pagepool")
    names = ", ".join(deployments.COMBINATIONS)
    group.addoption("--combinations", default="", help=f"Run all contract tests on these, comma-separated: {names}.")
    group.addoption("--all-combinations", action="store_true", help="Run all contract tests on every combination.")
    group.addoption("--model-examples", type=int, default=6, help="Histories that the model-based test tries.")
    group.addoption("--model-steps", type=int, default=40, help="Steps in each of them.")
    group.addoption("--model-shrink", action="store_true", help="Shrink a history that fails; takes minutes.")
    group.addoption("--soak", action="store_true", help="Run the tests marked `soak`, too.")
    group.addoption("--schemathesis-examples", type=int, default=6, help="Cases an operation that schemathesis tries.")
    group.addoption("--raw-examples", type=int, default=80, help="Streams of raw bytes that each test of them tries.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "smoke: also runs on the combinations of every run, beside the default one")
    config.addinivalue_line("markers", "combination(*names): runs on these combinations and no other")
    config.addinivalue_line("markers", "soak: takes long; runs with --soak only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "service" not in metafunc.fixturenames or getattr(metafunc.module, "OWN_SERVICE", False):
        return
    option = metafunc.config.getoption
    chosen = tuple(filter(None, option("--combinations").split(",")))
    if option("--all-combinations"):
        chosen = deployments.COMBINATIONS
    if unknown := set(chosen) - set(deployments.COMBINATIONS):
        raise pytest.UsageError(f"--combinations: no such combination: {', '.join(sorted(unknown))}")
    marker = metafunc.definition.get_closest_marker("combination")
    if marker is not None:
        names = [name for name in marker.args if not chosen or name in chosen]
    elif chosen:
        names = list(chosen)
    elif metafunc.definition.get_closest_marker("smoke"):
        names = list(deployments.IN_EVERY_RUN)
    else:
        names = [deployments.DEFAULT]
    metafunc.parametrize("service", names, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless asked for.

    Of each smoke test, run at most a few cases, evenly chosen, on a combination that nobody asked for by name.
    """
    if not config.getoption("--soak"):
        soaking = [item for item in items if item.get_closest_marker("soak") is not None]
        config.hook.pytest_deselected(items=soaking)
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]
    if config.getoption("--combinations") or config.getoption("--all-combinations"):
        return
    cases: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        combination = getattr(item, "callspec", None) and item.callspec.params.get("service")
        if combination in deployments.IN_EVERY_RUN[1:] and item.get_closest_marker("smoke"):
            cases.setdefault((item.nodeid.split("[")[0], combination), []).append(item)
    left_out = {
        item
        for of_one in cases.values()
        for index, item in enumerate(of_one)
        if index * SMOKE_CASES // len(of_one) == (index - 1) * SMOKE_CASES // len(of_one)
    }
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the figures that tests recorded."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figure" and report.when == "call":
                terminalreporter.write_line(f"measured: {value}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    report = yield
    if report.failed:
        for service in LIVE:
            report.sections.append((f"log of the service with pid {service.pid}", service.log_text()[-3000:]))
    return report


@pytest.fixture(scope="session")
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The running service of a combination, shared by the session; its settings stay as they are."""
    with deployments.deployed(request.param) as running:
        yield running


@pytest.fixture
def client(service: Service) -> httpx.Client:
    """The service's client."""
    return service.client


@pytest.fixture
def areas(service: Service) -> Iterator[Callable[[], Area]]:
    """Makes areas; at the test's end they are dropped, and the pool's counts must be what they were before it."""
    before = service.pool()
    made: list[Area] = []

    def make() -> Area:
        made.append(Area(service, next(_types)))
        return made[-1]

    yield make
    for area in made:
        area.drop()
    after = service.pool()
    assert {name: after[name] for name in NUMBERS} == {name: before[name] for name in NUMBERS}


@pytest.fixture
def area(areas: Callable[[], Area]) -> Area:
    """A type that no other test uses."""
    return areas()


@pytest.fixture
def tune(service: Service) -> Iterator[Callable[..., dict[str, Any]]]:
    """Changes tunables; at the test's end they are as they were."""
    before = service.parameters()
    yield service.tune
    service.tune(**before)


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Starts services with settings of their own, for this test alone."""
    with ExitStack() as stack:
        yield lambda *args, **settings: stack.enter_context(Service(*args, **{"max_pool_bytes": "0", **settings}))


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisServer]]:
    """Starts redis-servers with options of their own, for this test alone."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RedisServer(**options))
