"""Making room: what goes, in what order, and what never does; limits of types."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.eviction.clock import configure, forget_marks, pass_seconds
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

RAW = [pages.incompressible(n) for n in range(100)]
LENGTH = 4096 + 9
"""What a raw page adds to pool_bytes."""


def shrink(area: Area, count: int, *, pool: bool = False) -> dict[str, int]:
    """Ask for the bytes of so many raw pages."""
    path = "/v1/pool/shrink" if pool else f"{area.base}/shrink"
    response = area.client.post(path, json={"bytes": count * LENGTH})
    assert response.status_code == 200, response.text
    answer: dict[str, int] = response.json()
    return answer


def held(area: Area, count: int = 100) -> set[int]:
    """Offsets of the pages that are there, by a call that marks nothing."""
    runs = area.client.get(f"{area.base}/extents", params={"count": count}).json()["extents"]
    return {run["offset"] + n for run in runs if run["state"] != "hole" for n in range(run["count"])}


def check_audit(area: Area) -> None:
    """Every counter equals a recount."""
    audit = area.service.audit()
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_pages_that_were_loaded_have_a_second_chance(area: Area, redis_of) -> None:
    """The hand takes pages that were not loaded since it last passed, and spares the others."""
    configure(area, redis_of, eviction="second-chance")
    area.store(0, *RAW)
    forget_marks(area, redis_of)
    for offset in range(0, 100, 5):
        area.load(offset)
    area.load_pages(30, 10)
    # Each worker writes the marks that it has gathered before it shows or shrinks the type: ask all of them.
    wait_for_marks(area, {*range(0, 100, 5), *range(30, 40)}, redis_of)
    assert shrink(area, 50)["evicted_pages"] == 50
    left = held(area)
    assert len(left) == 50
    assert {*range(0, 100, 5), *range(30, 40)} <= left
    assert all(area.load(offset) == RAW[offset] for offset in left)
    check_audit(area)


def wait_for_marks(area: Area, expected: set[int], redis_of) -> None:
    """Until what was loaded is marked in Redis."""
    from tests.harness.redis_server import until  # noqa: PLC0415

    def marked() -> set[int]:
        found = set()
        for key in redis_of.scan_iter(match=f"*:p:*:{area.type}:*", count=1000):
            chunk = int(key.rpartition(b":")[2])
            bits = int.from_bytes(redis_of.hget(key, "g")[:8], "little")
            found |= {chunk * 64 + index for index in range(64) if bits >> index & 1}
        return found

    until(lambda: marked() >= expected, 5, "the marks are written")


def test_a_shrink_frees_what_was_asked_for_and_no_more(area: Area, redis_of) -> None:
    """Pages go until the bytes asked for are free, exact to one page, and are counted."""
    configure(area, redis_of, eviction="second-chance")
    area.store(0, *RAW)
    answer = shrink(area, 30)
    assert answer == {"evicted_pages": 30, "expired_pages": 0, "freed_bytes": 30 * LENGTH}
    shown = area.show()
    assert (shown["stored_pages"], shown["evicted_pages"], shown["reclaim_failures"]) == (70, 30, 0)
    assert shrink(area, 100)["evicted_pages"] == 70
    shown = area.show()
    assert (shown["stored_pages"], shown["evicted_pages"], shown["reclaim_failures"]) == (0, 100, 1)
    check_audit(area)


def test_zero_pages_are_not_evicted(area: Area, redis_of) -> None:
    """A zero page costs no bytes, and stays however much is asked for."""
    configure(area, redis_of, eviction="second-chance")
    area.store(0, *[pages.zero() if n % 2 else RAW[n] for n in range(100)])
    assert shrink(area, 1000)["evicted_pages"] == 50
    assert held(area) == set(range(1, 100, 2))
    check_audit(area)


def test_others_lose_nothing(make_area: Callable[[], Area], redis_of) -> None:
    """Plain types and images beside an evicting one keep every page, whatever is asked of the pool."""
    evicting, plain, image = make_area(), make_area(), make_area()
    configure(evicting, redis_of, eviction="second-chance")
    assert image.configure(image_bytes=100 * 4096).status_code == 200
    for each in (evicting, plain, image):
        each.store(0, *RAW)
    assert shrink(evicting, 1000, pool=True)["evicted_pages"] == 100
    assert plain.load_pages(0, 100) == RAW
    assert image.client.get(image.image).content == b"".join(RAW)
    check_problem(plain.client.post(f"{plain.base}/shrink", json={"bytes": 1}), 422, "bad_parameter")
    check_audit(plain)


def test_lower_priorities_give_way_first(make_area: Callable[[], Area], redis_of) -> None:
    """A type of a higher priority gives way only once those below it have nothing left."""
    low, high = make_area(), make_area()
    configure(high, redis_of, eviction="second-chance", priority=5)
    configure(low, redis_of, eviction="second-chance", priority=1)
    high.store(0, *RAW)
    low.store(0, *RAW)
    assert shrink(low, 60, pool=True)["evicted_pages"] == 60
    assert (len(held(low)), len(held(high))) == (40, 100)
    assert shrink(low, 60, pool=True)["evicted_pages"] == 60
    assert (len(held(low)), len(held(high))) == (0, 80)


@pytest.mark.parametrize("limits", ["pool", "type"])
def test_a_store_makes_room_first(area: Area, redis_of, service_of, limits: str) -> None:
    """Where pages give way a limit refuses nobody; what is held stays at it."""
    if limits == "pool":
        configure(area, redis_of, eviction="second-chance")
        service_of.tune(max_pool_bytes=40 * LENGTH)
    else:
        configure(area, redis_of, eviction="second-chance", max_pool_bytes=40 * LENGTH)
    for offset in range(300):
        area.store(offset, RAW[offset % 100])
        # An evicted page is a miss; what is there is what was stored.
        response = area.get(offset)
        assert response.status_code == 404 or response.content == RAW[offset % 100]
    workers = int(service_of.settings.get("workers", "1"))
    # One worker knows its total, but for a page that slips in while the hand works: seen once in some ten runs on a
    # cluster. Several may admit 4 MiB each between two looks (contract 2.5).
    most = 41 * LENGTH if workers == 1 else 40 * LENGTH + workers * (4 << 20)
    numbers = area.numbers()
    assert numbers["pool_bytes"] <= most
    shown = area.show()
    assert shown["evicted_pages"] == 300 - shown["stored_pages"]
    check_audit(area)


def test_a_full_pool_without_anything_to_give_refuses(make_area: Callable[[], Area], redis_of, service_of) -> None:
    """A store is refused, and a reclaim counted as failed, only where nothing can go."""
    plain, evicting = make_area(), make_area()
    configure(evicting, redis_of, eviction="second-chance")
    plain.store(0, *RAW[:50])
    evicting.store(0, *RAW[:10])
    service_of.tune(max_pool_bytes=55 * LENGTH, accept_threshold_percent=100)
    stored = 0
    while plain.put(100 + stored, RAW[60]).status_code == 204:
        stored += 1
        assert stored < 20
    assert stored == 5
    assert held(evicting) == set()
    assert service_of.pool()["reclaim_failures"] >= 1
    check_problem(plain.put(200, RAW[60]), 507, "pool_full", "invalidated")
    check_audit(plain)


def test_the_limit_of_a_type(make_area: Callable[[], Area], service_of) -> None:
    """A type closes at its own limit with the same hysteresis, refuses with type_full, and no other type notices."""
    limited, other = make_area(), make_area()
    assert limited.configure(max_pool_bytes=10 * LENGTH).status_code == 200
    before = service_of.metrics()
    document = check_problem(limited.put(0, *RAW[:15]), 507, "type_full", "invalidated")
    assert (document["stored"], document["rejected"]) == (10, [[10, 5]])
    assert limited.show()["state"] == "closed"
    assert service_of.metrics().since(before) == {"stores.raw": 10, "rejects.type_full": 5}
    other.store(0, *RAW)
    limited.store(50, pages.zero())
    check_problem(limited.put(3, RAW[20]), 507, "type_full", "invalidated")
    assert limited.is_absent(3)
    assert service_of.pool()["state"] == "open"
    limited.delete(0, count=1)
    assert limited.show()["state"] == "open"  # 8 of 10 pages are below the threshold of 9
    limited.store(3, RAW[20])
    limited.store(0, RAW[21])
    check_problem(limited.put(4, RAW[1], RAW[2]), 507, "type_full")
    assert limited.configure().status_code == 200
    limited.store(60, *RAW[:20])
    check_audit(limited)


def test_figures_of_idleness(area: Area, redis_of) -> None:
    """A governed type shows how many pages were not stored, and not touched, for a minute, an hour, a day."""
    configure(area, redis_of, eviction="second-chance")
    area.store(0, *RAW)
    pass_seconds(area, redis_of, 3600)
    area.load_pages(0, 30)
    area.store(90, *RAW[:10])
    wait_for_marks(area, set(range(30)), redis_of)
    idle = area.show()["idle"]
    assert idle["pages"] == 100
    assert idle["not_stored_for"] == {"minute": 90, "hour": 90, "day": 0}
    # Whether the loads are written yet is for the workers to say: they are within a second.
    from tests.harness.redis_server import until  # noqa: PLC0415

    expected = {"minute": 60, "hour": 60, "day": 0}
    until(lambda: area.show()["idle"]["not_touched_for"] == expected, 5, "what was loaded is touched")


def test_an_image_cannot_lose_pages(area: Area) -> None:
    """image_bytes together with eviction or a time to live is refused, whichever comes first, and changes nothing."""
    for losing in ({"eviction": "second-chance"}, {"ttl_seconds": 5}):
        check_problem(area.configure(image_bytes=4096, **losing), 422, "bad_parameter")
        assert area.configure(**losing).status_code == 200
        check_problem(area.client.put(area.image, content=bytes(4096)), 422, "bad_parameter")
        assert area.show()["configuration"]["image_bytes"] is None
    assert area.configure(image_bytes=4096, max_pool_bytes=1 << 20, priority=3).status_code == 200


def test_a_type_that_becomes_an_image_loses_nothing(area: Area, redis_of) -> None:
    """Once a type is an image, no page of it goes: neither old nor new ones."""
    configure(area, redis_of, eviction="second-chance", ttl_seconds=100)
    area.store(0, *RAW)
    pass_seconds(area, redis_of, 50)
    assert area.configure(image_bytes=100 * 4096).status_code == 200
    pass_seconds(area, redis_of, 1000)
    assert shrink(area, 1000, pool=True)["freed_bytes"] == 0
    area.store(5, RAW[6])
    assert area.load_pages(0, 100) == [*RAW[:5], RAW[6], *RAW[6:]]
    check_problem(area.client.post(f"{area.base}/shrink", json={"bytes": 1}), 422, "bad_parameter")
