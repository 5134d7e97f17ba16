"""A type with second chance and time to live against a dict, with a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.eviction.clock import configure, pass_seconds
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.service import Service

SPAN = 130
PALETTE = [
    pages.zero(),
    pages.same(),
    *(pages.compressible(n) for n in range(3)),
    *(map(pages.incompressible, range(3))),
]
TTLS = (100, 300, None)

offsets = st.integers(0, SPAN - 1)
steps = st.one_of(
    st.tuples(st.just("store"), offsets, st.lists(st.integers(0, len(PALETTE) - 1), min_size=1, max_size=20)),
    st.tuples(st.just("create"), offsets, st.integers(0, len(PALETTE) - 1)),
    st.tuples(st.just("take"), offsets, st.just(0)),
    st.tuples(st.just("delete"), offsets, st.integers(2, 40)),
    st.tuples(st.just("pass"), st.sampled_from([1, 60, 120, 250]), st.just(0)),
    st.tuples(st.just("shrink"), st.integers(1, 60_000), st.just(0)),
    st.tuples(st.just("live"), st.sampled_from(TTLS), st.just(0)),
)


@dataclass
class Model:
    """Pages by offset, with the seconds since they were stored; and what went by itself."""

    area: Area
    client: redis.Redis
    held: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    ttl: int | None = TTLS[0]
    evicted: int = 0

    def live(self) -> dict[int, bytes]:
        """What loads must find."""
        return {at: page for at, (page, age) in self.held.items() if self.ttl is None or age < self.ttl}

    def configure(self, ttl: int | None) -> None:
        """Give the type another time to live."""
        self.ttl = ttl
        configure(self.area, self.client, eviction="second-chance", ttl_seconds=ttl)

    def found(self) -> dict[int, bytes]:
        """What loads find."""
        frames = self.area.load_frames(0, SPAN + 20)
        return {at: page for at, page in frames.items() if isinstance(page, bytes)}

    def do(self, name: str, first: int | None, second: object) -> None:
        """One step, and its answer."""
        area, live = self.area, self.live()
        if name == "live":
            live_before = set(live)
            self.configure(first)
            # What had expired may have been swept, or may be back: that is not for the model to say.
            found = self.found()
            self.held = {at: each for at, each in self.held.items() if at in live_before or at in found}
            return
        assert first is not None
        if name == "store":
            assert isinstance(second, list)
            area.store(first, *(PALETTE[number] for number in second))
            self.held |= {first + n: (PALETTE[number], 0) for n, number in enumerate(second)}
        elif name == "create":
            assert isinstance(second, int)
            status = area.put(first, PALETTE[second], headers={"If-None-Match": "*"}).status_code
            assert status == (412 if first in live else 204)
            if status == 204:
                self.held[first] = PALETTE[second], 0
        elif name == "take":
            response = area.take(first)
            assert response.content == live[first] if first in live else response.status_code == 404
            self.held.pop(first, None)
        elif name == "delete":
            assert isinstance(second, int)
            gone = [at for at in range(first, first + second) if at in live]
            assert area.delete(first, count=second).json() == {"invalidated": len(gone)}
            for at in range(first, first + second):
                self.held.pop(at, None)
        elif name == "pass":
            pass_seconds(area, self.client, first)
            self.held = {at: (page, age + first) for at, (page, age) in self.held.items()}
        else:
            self.shrink(first)

    def shrink(self, goal: int) -> None:
        """Free bytes: exactly the pages with a blob that are told went, until the goal was met."""
        before = self.live()
        answer = self.area.client.post(f"{self.area.base}/shrink", json={"bytes": goal}).json()
        after = self.found()
        assert after.items() <= before.items()
        gone = before.keys() - after.keys()
        assert len(gone) == answer["evicted_pages"]
        assert all(any(before[at]) for at in gone), "a zero page was evicted"
        if answer["freed_bytes"] < goal:
            assert not any(any(page) for page in after.values()), "pages were left that could go"
        self.evicted += len(gone)
        self.held = {at: each for at, each in self.held.items() if at not in gone}


@pytest.mark.parametrize("kept", ["single"], indirect=True)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=5, max_size=30))
def test_a_governed_type_is_the_model(kept: tuple[Service, redis.Redis], history: list[tuple]) -> None:
    """Loads find what was stored, unless it is expired by the clock of the test or was told to be evicted."""
    service, client = kept
    area = Area(service, 4000)
    model = Model(area, client)
    model.configure(TTLS[0])
    try:
        for step in history:
            model.do(*step)
            assert model.found() == model.live()
        assert area.show()["evicted_pages"] == model.evicted
        audit = service.audit()
        assert audit.returncode == 0, audit.stdout
    finally:
        area.drop()
