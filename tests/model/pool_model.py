"""A pool as a plain dict, and the rules by which hypothesis drives the real one beside it.

The dict knows every page's bytes, kind and stored length. From it follow all counts of the type and of the pool, which
are compared after every step. Lengths are the one thing taken from the service (HEAD says them), since they depend on
the compressor.

Admission is predicted exactly for single pages, as the contract has it for requests sent one after another to one
worker. Of an extent the service's own list of rejected pages is taken, and checked: no zero page is in it, and what is
in it is gone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.harness import frames, pages
from tests.harness.area import NUMBERS, Area
from tests.harness.problems import check_problem

PAGE = pages.PAGE_SIZE
SPAN = 200
IMAGE_BYTES = (SPAN - 3) * PAGE + 77
PALETTE = [
    pages.zero(),
    pages.zero(),
    pages.zero(),
    pages.same(b"\x01" * 8),
    pages.same(b"\xff\x00\xff\x00\xff\x00\xff\x80"),
    *pages.NEAR_MISSES.values(),
    *(pages.compressible(n) for n in range(4)),
    *(pages.incompressible(n) for n in range(8)),
]

areas = st.integers(0, 1)
offsets = st.integers(0, SPAN - 1)
page = st.integers(0, len(PALETTE) - 1)  # by number: hypothesis would print the pages themselves
extents = st.lists(page, min_size=1, max_size=40)
counts = st.integers(1, 90)


@dataclass(frozen=True)
class Held:
    """A page that the pool should hold."""

    page: bytes
    kind: str
    length: int


class PoolModel(RuleBasedStateMachine):
    """The rules. One service serves all histories; each has two types of its own."""

    def __init__(self, both: tuple[Area, Area]) -> None:
        super().__init__()
        self.areas = both
        self.service = both[0].service
        self.held: tuple[dict[int, Held], dict[int, Held]] = ({}, {})
        self.first = self.service.parameters()
        self.service.tune(**{**self.first, "max_pool_bytes": 0, "accept_threshold_percent": 90, "compressor": "lz4"})
        self.before = {name: self.service.pool()[name] for name in NUMBERS}
        self.limit, self.threshold = 0, 90
        self.most_pages = self.first["max_stored_pages"]
        self.compressor = "lz4"
        self.is_enabled = True
        self.is_closed = False
        for area in both:
            area.drop()
            area.configure(image_bytes=IMAGE_BYTES)

    # What should be

    def numbers(self, which: int) -> dict[str, int]:
        held = self.held[which].values()
        return {
            "stored_pages": len(held),
            "zero_pages": sum(each.kind == "zero" for each in held),
            "same_filled_pages": sum(each.kind == "same" for each in held),
            "incompressible_pages": sum(each.kind == "raw" for each in held),
            "pool_bytes": sum(each.length for each in held),
        }

    def totals(self) -> dict[str, int]:
        one, other = self.numbers(0), self.numbers(1)
        return {name: self.before[name] + one[name] + other[name] for name in NUMBERS}

    def open_if_below(self) -> None:
        if not self.limit or self.totals()["pool_bytes"] <= self.limit * self.threshold // 100:
            self.is_closed = False

    def drop(self, which: int, gone: list[int]) -> int:
        count = sum(self.held[which].pop(offset, None) is not None for offset in gone)
        self.open_if_below()
        return count

    def keep(self, which: int, offset: int, body: bytes) -> None:
        head = self.areas[which].head(offset)
        kind, length = head.headers["page-kind"], int(head.headers["page-stored-length"])
        expected = pages.kind_of(body)
        if expected == "compressed" and self.compressor == "none":
            expected = "raw"
        assert kind == expected
        assert head.headers["etag"] == pages.etag(body)
        self.held[which][offset] = Held(body, kind, length)

    # Stores

    def refusal_of_one(self, which: int, offset: int, body: bytes) -> tuple[int, str] | None:
        if not self.is_enabled:
            return 503, "stores_disabled"
        totals = self.totals()
        if any(body) and self.limit:
            if totals["pool_bytes"] >= self.limit:
                self.is_closed = True
            if self.is_closed:
                return 507, "pool_full"
        if offset not in self.held[which] and totals["stored_pages"] >= self.most_pages:
            return 507, "metadata_full"
        return None

    @rule(which=areas, offset=offsets, number=page)
    def store_one(self, which: int, offset: int, number: int) -> None:
        body = PALETTE[number]
        refusal = self.refusal_of_one(which, offset, body)
        response = self.areas[which].put(offset, body)
        if refusal is not None:
            check_problem(response, *refusal, "invalidated")
            self.drop(which, [offset])
        else:
            assert response.status_code == 204, response.text
            assert response.headers["etag"] == pages.etag(body)
            self.keep(which, offset, body)

    @rule(which=areas, offset=offsets, number=page, matching=st.booleans())
    def swap_one(self, which: int, offset: int, number: int, matching: bool) -> None:
        body = PALETTE[number]
        held = self.held[which].get(offset)
        tag = pages.etag(held.page) if held is not None and matching else '"0000000000000000"'
        response = self.areas[which].put(offset, body, headers={"If-Match": tag})
        if held is None or not matching:
            check_problem(response, 412, "precondition_failed", "kept")
        elif (refusal := self.refusal_of_one(which, offset, body)) is not None:
            check_problem(response, *refusal, "invalidated")
            self.drop(which, [offset])
        else:
            assert response.status_code == 204, response.text
            self.keep(which, offset, body)

    def settle(self, which: int, response, stored: dict[int, bytes]) -> None:
        rejected: set[int] = set()
        if response.status_code != 204:
            document = response.json()
            check_problem(response, 503 if not self.is_enabled else 507, None, "invalidated")
            assert document["code"] in {"pool_full", "metadata_full", "stores_disabled"}
            listed = document.get("rejected", pages.runs(set(stored)))  # a store that is refused whole need not say
            rejected = {offset + n for offset, count in listed for n in range(count)}
            assert rejected <= set(stored)
            assert rejected
            assert document.get("stored", 0) == len(stored) - len(rejected)
            if document["code"] == "pool_full" and self.most_pages > 2 * SPAN:
                assert all(any(stored[offset]) for offset in rejected), "a zero page was refused"
        if not self.is_enabled:
            assert rejected == set(stored)
        for offset in sorted(rejected):
            self.held[which].pop(offset, None)
        for offset in sorted(set(stored) - rejected):
            self.keep(which, offset, stored[offset])
        if self.limit:
            self.is_closed = self.service.pool()["state"] == "closed"
            if self.totals()["pool_bytes"] <= self.limit * self.threshold // 100:
                assert not self.is_closed

    @rule(which=areas, offset=offsets, numbers=extents)
    def store_extent(self, which: int, offset: int, numbers: list[int]) -> None:
        body = [PALETTE[number] for number in numbers]
        self.settle(which, self.areas[which].put(offset, *body), dict(enumerate(body, offset)))

    @rule(which=areas, offset=offsets, numbers=extents, step=st.integers(1, 3), seed=st.integers(0, 1000))
    def store_frames(self, which: int, offset: int, numbers: list[int], step: int, seed: int) -> None:
        order = random.Random(seed)
        stored = {offset + step * n: PALETTE[number] for n, number in enumerate(numbers)}
        made = []
        for at, each in stored.items():
            kind = pages.kind_of(each)
            forms = [frames.data(at, each)]
            forms += [frames.zero(at)] if kind == "zero" else []
            forms += [frames.same(at, 1, each[:8])] if kind == "same" else []
            forms += [frames.lz4_frame(at, each)] if kind == "compressed" and self.compressor == "lz4" else []
            made.append(order.choice(forms))
        order.shuffle(made)
        self.settle(which, self.areas[which].put_frames(offset, *made), stored)

    @rule(which=areas, offset=offsets, count=counts)
    def zero_range(self, which: int, offset: int, count: int) -> None:
        response = self.areas[which].over_ranges("zero", (offset, count))
        wanted = dict.fromkeys(range(offset, offset + count), pages.zero())
        if response.status_code == 200:
            assert response.json() == {"zeroed": count}
            for at in wanted:
                self.held[which][at] = Held(pages.zero(), "zero", 0)
            self.open_if_below()
        else:
            self.settle(which, response, wanted)

    # Loads

    @rule(which=areas, offset=offsets, count=counts)
    def load_extent(self, which: int, offset: int, count: int) -> None:
        held = self.held[which]
        missing = [at for at in range(offset, offset + count) if at not in held]
        response = self.areas[which].get(offset, count=count)
        if missing:
            assert check_problem(response, 404, "page_missing")["missing"] == pages.runs(missing)
            response = self.areas[which].get(offset, count=count, missing="zero")
            assert response.headers["page-missing-count"] == str(len(missing))
        assert response.status_code == 200
        expected = b"".join(held[at].page if at in held else pages.zero() for at in range(offset, offset + count))
        assert response.content == expected

    @rule(which=areas, offset=offsets, count=counts, lz4=st.sampled_from([{}, {"lz4": 1}]))
    def load_frames(self, which: int, offset: int, count: int, lz4: dict[str, int]) -> None:
        held = self.held[which]
        found = self.areas[which].load_frames(offset, count, **lz4)
        assert found == {
            at: held[at].page if at in held else frames.FrameKind.ABSENT for at in range(offset, offset + count)
        }

    # Removals

    @rule(which=areas, offset=offsets)
    def delete_one(self, which: int, offset: int) -> None:
        status = self.areas[which].delete(offset).status_code
        assert status == (204 if offset in self.held[which] else 404)
        self.drop(which, [offset])

    @rule(which=areas, offset=offsets, count=st.integers(2, 90))
    def delete_extent(self, which: int, offset: int, count: int) -> None:
        response = self.areas[which].delete(offset, count=count)
        assert response.json() == {"invalidated": self.drop(which, list(range(offset, offset + count)))}

    @rule(which=areas, ranges=st.lists(st.tuples(offsets, counts), min_size=1, max_size=4))
    def invalidate_ranges(self, which: int, ranges: list[tuple[int, int]]) -> None:
        response = self.areas[which].over_ranges("invalidate", *ranges)
        gone = [offset + n for offset, count in ranges for n in range(count)]
        assert response.json() == {"invalidated": self.drop(which, gone)}

    @rule(which=areas, offset=offsets)
    def take(self, which: int, offset: int) -> None:
        response = self.areas[which].take(offset)
        if offset in self.held[which]:
            assert (response.status_code, response.content) == (200, self.held[which][offset].page)
        else:
            assert response.status_code == 404
        self.drop(which, [offset])

    @rule(which=areas)
    @precondition(lambda self: any(len(held) > 60 for held in self.held))
    def delete_type(self, which: int) -> None:
        self.areas[which].drop()
        self.drop(which, list(self.held[which]))
        self.areas[which].configure(image_bytes=IMAGE_BYTES)

    # Tunables

    @rule(room=st.integers(-3 * PAGE, 60 * PAGE), threshold=st.sampled_from([1, 50, 90, 99, 100]))
    def set_limit(self, room: int, threshold: int) -> None:
        self.limit, self.threshold = max(1, self.totals()["pool_bytes"] + room), threshold
        self.service.tune(max_pool_bytes=self.limit, accept_threshold_percent=threshold)
        self.open_if_below()
        note(f"limit {self.limit}, held {self.totals()['pool_bytes']}, closed {self.is_closed}")

    @rule()
    def lift_limit(self) -> None:
        self.limit = 0
        self.service.tune(max_pool_bytes=0)
        self.open_if_below()

    @rule(room=st.one_of(st.just(1 << 32), st.integers(-2, 30)))
    def bound_pages(self, room: int) -> None:
        self.most_pages = max(0, self.totals()["stored_pages"] + room)
        self.service.tune(max_stored_pages=self.most_pages)

    @rule(compressor=st.sampled_from(["lz4", "lz4hc", "zstd", "none"]))
    def set_compressor(self, compressor: str) -> None:
        self.compressor = compressor
        self.service.tune(compressor=compressor)

    @rule(enabled=st.sampled_from([True, True, True, False]))
    def enable(self, enabled: bool) -> None:
        self.is_enabled = enabled
        self.service.tune(enabled=enabled)

    # What is compared

    @invariant()
    def counts_are_exact(self) -> None:
        for which in (0, 1):
            assert self.areas[which].numbers() == self.numbers(which)
        pool = self.service.pool()
        assert {name: pool[name] for name in NUMBERS} == self.totals()

    def teardown(self) -> None:
        try:
            for which, area in enumerate(self.areas):
                response = area.get(0, count=2 * SPAN, missing="zero")
                expected = {at: each.page for at, each in self.held[which].items()}
                assert pages.split(response.content) == [expected.get(at, pages.zero()) for at in range(2 * SPAN)]
                assert int(response.headers.get("page-missing-count", 0)) == 2 * SPAN - len(expected)
            scrape, totals = self.service.metrics(), self.totals()
            assert {name: scrape.value(f"pagepool_{name}") for name in NUMBERS} == totals
            assert scrape.value("pagepool_logical_bytes") == totals["stored_pages"] * PAGE
        finally:
            self.service.tune(**self.first)
            for area in self.areas:
                area.drop()
