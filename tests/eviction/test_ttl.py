"""Time to live: what was not stored again within it is a miss for every call, swept or not."""

from __future__ import annotations

from tests.eviction.clock import configure, pass_seconds
from tests.harness import frames, pages
from tests.harness.area import Area
from tests.harness.pages import etag
from tests.harness.problems import check_problem

RAW = [pages.incompressible(n) for n in range(8)]
TTL = 1000


def expired(area: Area, redis_of) -> None:
    """Pages 0 to 5 of the type, of each kind, are expired; page 6 was stored just now."""
    configure(area, redis_of, ttl_seconds=TTL)
    area.store(0, pages.zero(), pages.same(), pages.compressible(1), RAW[0], RAW[1], pages.zero())
    pass_seconds(area, redis_of, TTL)
    # Through another chunk, since a store sweeps the chunk that it changes.
    area.store(64, RAW[6])


def test_an_expired_page_is_a_miss_for_every_call(area: Area, redis_of) -> None:
    """Loads, heads, takes, frames, deletes and the maps do not know an expired page, though it is still counted."""
    expired(area, redis_of)
    assert area.numbers()["stored_pages"] == 7
    assert all(area.is_absent(offset) for offset in range(6))
    assert area.head(3).status_code == 404
    assert check_problem(area.get(0, count=6), 404, "page_missing")["missing"] == [[0, 6]]
    assert area.get(0, count=6, missing="zero").headers["page-missing-count"] == "6"
    assert set(area.load_frames(0, 6).values()) == {frames.FrameKind.ABSENT}
    check_problem(area.take(3), 404, "page_missing")
    answer = area.client.get(f"{area.base}/extents", params={"count": 65}).json()
    assert [(run["count"], run["state"]) for run in answer["extents"]] == [(64, "hole"), (1, "data")]
    cells = area.client.get(f"{area.base}/map", params={"count": 128, "cells": 4}).json()["cells"]
    assert [cell["zero"] + cell["same"] + cell["compressed"] + cell["raw"] for cell in cells] == [0, 0, 1, 0]
    assert area.load(64) == RAW[6]


def test_an_expired_page_is_absent_for_preconditions(area: Area, redis_of) -> None:
    """If-Match on an expired page fails, and If-None-Match: * succeeds, once."""
    expired(area, redis_of)
    check_problem(area.put(3, RAW[2], headers={"If-Match": etag(RAW[0])}), 412, "precondition_failed")
    check_problem(area.delete(4, headers={"If-Match": "*"}), 404, "page_missing")
    assert area.put(3, RAW[2], headers={"If-None-Match": "*"}).status_code == 204
    check_problem(area.put(3, RAW[3], headers={"If-None-Match": "*"}), 412, "precondition_failed")
    assert area.load(3) == RAW[2]


def test_a_delete_does_not_find_an_expired_page(area: Area, redis_of) -> None:
    """Invalidating what is expired counts nothing; the pages go as expired ones, exactly counted."""
    expired(area, redis_of)
    before = area.service.pool()["expired_pages"]
    assert area.delete(2).status_code == 404
    assert area.delete(0, count=64).json() == {"invalidated": 0}
    assert area.service.pool()["expired_pages"] - before == 6
    assert area.show()["expired_pages"] == 6
    assert area.numbers()["stored_pages"] == 1


def test_a_store_begins_anew(area: Area, redis_of) -> None:
    """A page lives again from its last store, whatever time others of its chunk have left."""
    configure(area, redis_of, ttl_seconds=TTL)
    area.store(0, *RAW)
    pass_seconds(area, redis_of, TTL - 100)
    area.store(3, RAW[5])
    pass_seconds(area, redis_of, 100)
    assert [offset for offset in range(8) if not area.is_absent(offset)] == [3]
    assert area.load(3) == RAW[5]


def test_a_load_does_not_prolong(area: Area, redis_of) -> None:
    """Time to live runs from the store: a load in between gains nothing."""
    configure(area, redis_of, ttl_seconds=TTL)
    area.store(0, *RAW)
    pass_seconds(area, redis_of, TTL - 100)
    assert area.load_pages(0, 8) == RAW
    area.show()  # has this worker write what it has marked
    pass_seconds(area, redis_of, 100)
    assert area.get(0, count=8).status_code == 404


def test_another_ttl_holds_for_what_is_stored(area: Area, redis_of) -> None:
    """The time to live of now counts from when a page was stored; without one nothing expires.

    No page is past its time while a longer one is still to be set: a sweep may come at any moment.
    """
    configure(area, redis_of, ttl_seconds=TTL)
    area.store(0, *RAW)
    pass_seconds(area, redis_of, TTL - 100)
    assert area.configure(ttl_seconds=2 * TTL).status_code == 200
    pass_seconds(area, redis_of, 500)
    assert area.load_pages(0, 8) == RAW
    assert area.configure(eviction="second-chance").status_code == 200
    pass_seconds(area, redis_of, 5 * TTL)
    assert area.load_pages(0, 8) == RAW
    assert area.configure(ttl_seconds=TTL).status_code == 200
    assert area.is_absent(0)


def test_a_type_that_becomes_governed_loses_nothing(area: Area) -> None:
    """Pages that were stored before their type had a time to live count as stored when it got one."""
    area.store(0, *RAW)
    assert area.configure(ttl_seconds=TTL).status_code == 200
    assert area.load_pages(0, 8) == RAW
    area.store(64, RAW[0])
    assert area.load_pages(0, 8) == RAW


def test_a_shrink_takes_expired_pages(area: Area, redis_of) -> None:
    """A shrink sweeps what has expired, and nothing else of a type that does not evict; counters stay exact."""
    expired(area, redis_of)
    answer = area.client.post(f"{area.base}/shrink", json={"bytes": 1 << 30}).json()
    assert (answer["evicted_pages"], answer["expired_pages"]) == (0, 6)
    numbers = area.numbers()
    assert (numbers["stored_pages"], numbers["zero_pages"]) == (1, 0)
    assert area.show()["reclaim_failures"] == 1
    assert area.load(64) == RAW[6]
    audit = area.service.audit()
    assert audit.returncode == 0, audit.stdout
