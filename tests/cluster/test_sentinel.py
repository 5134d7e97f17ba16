"""A failover that sentinels make: what a replica had survives, and the service finds the new master by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cluster.load import Load
from tests.cluster.sentinels import Watched
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.redis_server import until
from tests.harness.service import DidNotStart, Service

RECOVERY_SECONDS = 25.0


@pytest.mark.soak
@pytest.mark.parametrize("trouble", ["killed", "hung"])
def test_a_failover_under_load(on: Callable[..., Service], measured: Callable[[str], None], trouble: str) -> None:
    """Stores that a replica had survive the loss of the master, dead or hung; all resumes on the next by itself."""
    with Watched() as watched:
        service = on(watched.url, store_replicas="1")
        area = Area(service, 900)
        area.store(0, pages.incompressible(1))
        with Load(service) as load:
            time.sleep(1)
            first = watched.master()
            began = time.monotonic()
            first.kill() if trouble == "killed" else first.pause()
            time.sleep(0.5)

            def is_stored() -> bool:
                return area.put(0, pages.incompressible(1)).status_code == 204

            until(is_stored, RECOVERY_SECONDS, "the next master acknowledges stores")
            stores_after = time.monotonic() - began
            first.start() if trouble == "killed" else first.resume()
            time.sleep(2)
            until(lambda: not load.outage(time.monotonic() - 0.5), RECOVERY_SECONDS, "nobody is refused")
        load.look_at_all()
        measured(
            f"a master that sentinels watch, {trouble} under load: stores were acknowledged again after "
            f"{stores_after:.1f} s; {load.done()} requests went well, {len(load.refused_at)} got a 503, none a wrong "
            f"answer; the slowest took {load.slowest:.1f} s"
        )
        assert watched.master() is not first
        assert not load.wrong
        audit = service.audit()
        assert audit.returncode == 0, audit.stdout


@pytest.mark.soak
def test_no_sentinel_answers(on: Callable[..., Service]) -> None:
    """A service that finds no master refuses to start, and says why."""
    with pytest.raises(DidNotStart, match="no sentinel names a master"):
        on("redis+sentinel://127.0.0.1:1,127.0.0.1:2/pages", redis_timeout="0.5")
