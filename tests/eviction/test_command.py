"""`pagepool shrink` and the Python client's `shrink`."""

from __future__ import annotations

from collections.abc import Callable

from pagepool_client import Client

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.service import Service, pagepool


def test_the_command_and_the_client(start_service: Callable[..., Service]) -> None:
    """Both free what is asked for, of a type or of the pool; the command fails where less could go."""
    service = start_service()
    area = Area(service, 5)
    assert area.configure(eviction="second-chance").status_code == 200
    area.store(0, *map(pages.incompressible, range(20)))
    run = pagepool("shrink", "8000", "--type", "5", "--url", service.origin, home=service.directory)
    assert (run.returncode, run.stdout) == (0, "8.0 KiB freed: 2 pages evicted, 0 expired.\n")
    with Client(service.origin) as client:
        assert client.shrink(4105)["evicted_pages"] == 1
        assert client.shrink(4105, 5)["freed_bytes"] == 4105
    run = pagepool("shrink", "1000000", "--url", service.origin, home=service.directory)
    assert run.returncode == 1
    assert "16 pages evicted" in run.stdout
