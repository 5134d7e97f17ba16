"""The limit with hysteresis, the stale-copy rule, and zero pages that are always welcome (contract 2.1, 2.5)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import frames, pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import until

RAW = [pages.incompressible(n) for n in range(200)]


@pytest.fixture
def raw_length(area: Area) -> int:
    """What a raw page adds to pool_bytes."""
    area.store(10_000, RAW[0])
    length = int(area.head(10_000).headers["page-stored-length"])
    area.delete(10_000)
    return length


@pytest.fixture
def limit(area: Area, tune, raw_length: int) -> Callable[..., int]:
    """Sets the limit to so many raw pages (and bytes) above what the pool holds now."""

    def set_to(pages_more: int, bytes_more: int = 0, threshold: int = 90) -> int:
        wanted = area.service.pool()["pool_bytes"] + pages_more * raw_length + bytes_more
        tune(max_pool_bytes=wanted, accept_threshold_percent=threshold)
        return wanted

    return set_to


def fill(area: Area, start: int = 0) -> int:
    """Store raw pages one by one until one is refused; returns how many were stored."""
    for index in range(len(RAW)):
        response = area.put(start + index, RAW[index])
        if response.status_code != 204:
            check_problem(response, 507, "pool_full", "invalidated")
            return index
    raise AssertionError("the pool never closed")


@pytest.mark.smoke
@pytest.mark.combination("door", "asgi", "uvicorn")
@pytest.mark.parametrize(("bytes_more", "stored"), [(0, 10), (-1, 10), (1, 11)])
def test_closes_exact_to_one_page(area: Area, limit, bytes_more: int, stored: int) -> None:
    """The pool closes when a store finds pool_bytes ≥ max_pool_bytes: with one worker exact to one page."""
    limit(10, bytes_more)
    assert fill(area) == stored
    assert area.service.pool()["state"] == "closed"
    assert area.service.metrics().value("pagepool_pool_full") == 1


def test_an_extent_closes_exact_to_one_page(area: Area, limit) -> None:
    """An extent is refused page by page: what fits is stored, the rest is listed."""
    limit(10)
    document = check_problem(area.put(0, *RAW[:15]), 507, "pool_full", "invalidated")
    assert document["stored"] == 10
    assert document["rejected"] == [[10, 5]]
    assert area.load_pages(0, 10) == RAW[:10]
    assert area.numbers()["stored_pages"] == 10


def test_an_extent_over_many_chunks_closes_exact_to_one_page(area: Area, limit) -> None:
    """Exactness does not depend on how an extent lies."""
    limit(130)
    document = check_problem(area.put(30, *RAW[:200]), 507, "pool_full", "invalidated")
    assert document["stored"] == 130
    assert sum(count for _, count in document["rejected"]) == 70
    assert area.numbers()["stored_pages"] == 130
    refused = {offset + n for offset, count in document["rejected"] for n in range(count)}
    assert {30 + n for n in range(200) if area.is_absent(30 + n)} == refused


def test_an_extent_that_was_sent_in_part_closes_exact_to_one_page(area: Area, limit) -> None:
    """So it is where its first chunks were on their way before the last were encoded."""
    bodies = [pages.incompressible(n) for n in range(512)]
    limit(470)
    document = check_problem(area.put(30, *bodies), 507, "pool_full", "invalidated")
    assert (document["stored"], document["rejected"]) == (470, [[500, 42]])
    assert area.load_pages(30, 470) == bodies[:470]
    assert area.numbers()["stored_pages"] == 470


@pytest.mark.parametrize("threshold", [90, 50, 1])
def test_opens_at_the_threshold(area: Area, limit, raw_length: int, threshold: int) -> None:
    """A closed pool opens again once pool_bytes ≤ max_pool_bytes × accept_threshold_percent / 100, and not before."""
    total = limit(50, 0, threshold)
    assert fill(area) == 50
    reopens_at = total * threshold // 100
    for index in range(50):
        area.delete(index)
        found = area.service.pool()["pool_bytes"]
        response = area.put(1000, RAW[60])
        if found <= reopens_at:
            assert response.status_code == 204, f"closed at {found} bytes, though it opens at {reopens_at}"
            break
        check_problem(response, 507, "pool_full", "invalidated")
    else:
        raise AssertionError("the pool never opened")
    assert area.service.pool()["state"] == "open"
    assert fill(area, 2000) * raw_length + found + raw_length >= total


def test_threshold_of_100_is_off(area: Area, limit) -> None:
    """With accept_threshold_percent = 100 one page gone lets one page in."""
    limit(10, 0, 100)
    assert fill(area) == 10
    area.delete(3)
    area.store(3, RAW[90])
    check_problem(area.put(100, RAW[91]), 507, "pool_full")


def test_the_state_opens_by_itself(area: Area, limit) -> None:
    """The pool says that it is open once enough is gone, though nobody stores."""
    limit(10)
    fill(area)
    assert area.service.pool()["state"] == "closed"
    area.delete(0, count=5)
    until(lambda: area.service.pool()["state"] == "open", 3, "the pool says that it is open")
    assert area.service.metrics().value("pagepool_pool_full") == 0


@pytest.mark.smoke
@pytest.mark.combination("door", "asgi", "uvicorn")
def test_rejects_and_limit_hits(area: Area, limit) -> None:
    """Each refused page counts one reject; one pool_limit_hit as well if it found pool_bytes ≥ max_pool_bytes."""
    limit(10, 0, 50)
    before = area.service.metrics()
    fill(area)
    assert area.service.metrics().since(before) == {"stores.raw": 10, "rejects.pool_full": 1, "pool_limit_hit": 1}
    area.delete(0)
    before = area.service.metrics()
    for offset in (100, 101, 102):
        check_problem(area.put(offset, RAW[20]), 507, "pool_full")
    assert area.service.metrics().since(before) == {"rejects.pool_full": 3}


def test_each_page_of_a_refused_extent_counts(area: Area, limit) -> None:
    """Rejects and limit hits are counted in pages."""
    limit(4)
    fill(area)
    before = area.service.metrics()
    document = check_problem(area.put(100, *RAW[:7]), 507, "pool_full")
    assert (document["stored"], document["rejected"]) == (0, [[100, 7]])
    assert area.service.metrics().since(before) == {"rejects.pool_full": 7, "pool_limit_hit": 7}


def test_raising_the_limit_opens(area: Area, limit, tune) -> None:
    """A higher limit opens the pool when the threshold of the new limit is met, and none at all always."""
    limit(10)
    fill(area)
    limit(100)
    area.store(50, RAW[50])
    limit(0)
    check_problem(area.put(51, RAW[51]), 507, "pool_full")
    tune(max_pool_bytes=0)
    area.store(51, RAW[51])
    assert area.service.pool()["state"] == "open"


def test_lifting_the_limit_opens_for_good(area: Area, tune, raw_length: int) -> None:
    """A pool that opened when its limit was lifted closes again when a store finds a limit reached, and not before."""
    area.store(0, *RAW[:5])
    held = area.service.pool()["pool_bytes"]
    tune(max_pool_bytes=1)
    check_problem(area.put(9, RAW[9]), 507, "pool_full")
    tune(max_pool_bytes=0)
    area.store(9, RAW[9])
    # Nobody looks at the pool in between: a look must not be what opens it.
    tune(max_pool_bytes=held + 2 * raw_length, accept_threshold_percent=50)
    area.store(10, RAW[10])
    check_problem(area.put(11, RAW[11]), 507, "pool_full")


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen open", "seen by nobody"])
def test_a_pool_that_opened_stays_open_under_another_limit(
    area: Area, limit, tune, raw_length: int, is_seen: bool
) -> None:
    """A pool that fell to its threshold is open: a change of the limit alone does not close it."""
    total = limit(10, 0, 50)
    assert fill(area) == 10
    area.delete(0, count=6)
    if is_seen:
        assert area.service.pool()["state"] == "open"
    tune(max_pool_bytes=total - 5 * raw_length)
    area.store(20, RAW[20])
    check_problem(area.put(21, RAW[21]), 507, "pool_full")


def test_lowering_the_limit_drops_nothing(area: Area, tune) -> None:
    """A limit below what is held refuses new pages and keeps the old."""
    area.store(0, *RAW[:20])
    tune(max_pool_bytes=1)
    check_problem(area.put(20, RAW[20]), 507, "pool_full", "invalidated")
    assert area.load_pages(0, 20) == RAW[:20]


@pytest.mark.smoke
@pytest.mark.parametrize("new", ["same", "compressed", "raw"])
@pytest.mark.parametrize("old", pages.KINDS)
def test_stale_copy_rule_when_full(area: Area, tune, old: str, new: str) -> None:
    """A store that is refused because the pool is full leaves no older copy behind, of whatever kind."""
    area.store(0, RAW[0])
    area.store(5, pages.of_each_kind()[old])
    tune(max_pool_bytes=1)
    fresh = {"same": pages.same(b"newwords"), "compressed": pages.compressible(77), "raw": RAW[77]}[new]
    check_problem(area.put(5, fresh), 507, "pool_full", "invalidated")
    assert area.is_absent(5)
    assert area.load(0) == RAW[0]
    assert area.numbers()["stored_pages"] == 1


def test_stale_copies_of_an_extent(area: Area, tune) -> None:
    """The stale-copy rule holds for each refused page of an extent, and for no other page."""
    body = pages.mixed(100, seed=3)
    area.store(0, *body)
    tune(max_pool_bytes=1)
    new = [pages.zero() if n % 3 == 0 else RAW[n] for n in range(40)]
    document = check_problem(area.put(30, *new), 507, "pool_full", "invalidated")
    refused = {30 + n for n in range(40) if n % 3}
    assert document["rejected"] == pages.runs(refused)
    assert document["stored"] == 40 - len(refused)
    assert {offset for offset in range(100) if area.is_absent(offset)} == refused
    kept = [offset for offset in range(100) if offset not in refused]
    expected = [pages.zero() if 30 <= offset < 70 else body[offset] for offset in kept]
    assert [area.load(offset) for offset in kept] == expected


@pytest.mark.smoke
def test_zero_pages_are_welcome_when_full(area: Area, tune) -> None:
    """A zero page is stored even when the pool is full, over any kind, and adds nothing to pool_bytes."""
    for index, page in enumerate(pages.of_each_kind().values()):
        area.store(index, page)
    tune(max_pool_bytes=1)
    check_problem(area.put(50, RAW[50]), 507, "pool_full")
    before = area.service.metrics()
    for offset in (0, 1, 2, 3, 1000):
        assert area.put(offset, pages.zero()).headers["page-counts"] == "zero=1, same=0, compressed=0, raw=0"
        assert area.load(offset) == pages.zero()
    changes = area.service.metrics().since(before)
    assert changes == {"stores.zero": 5, "loads.hit_zero": 5}
    assert area.numbers()["pool_bytes"] == 0
    assert area.numbers()["zero_pages"] == 5


def test_a_zero_page_does_not_close_the_pool(area: Area, limit) -> None:
    """Zero pages are recognised before the limit is looked at: they neither close the pool nor hit the limit."""
    limit(10)
    area.store(0, *RAW[:10])
    area.store(10, *[pages.zero()] * 100)
    assert area.service.metrics().value("pagepool_pool_full") == 0
    check_problem(area.put(200, RAW[20]), 507, "pool_full")


def test_a_closed_pool_still_loads_and_invalidates(area: Area, tune) -> None:
    """While the pool is closed loads, takes and invalidates go on."""
    area.store(0, *RAW[:4])
    tune(max_pool_bytes=1)
    check_problem(area.put(9, RAW[9]), 507, "pool_full")
    assert area.load(0) == RAW[0]
    assert area.take(1).content == RAW[1]
    assert area.delete(2).status_code == 204
    assert area.over_ranges("invalidate", (0, 10)).json() == {"invalidated": 2}


def test_overwriting_at_the_limit(area: Area, limit) -> None:
    """The store that overwrites is refused like any other when it finds the limit reached, and its old copy goes."""
    limit(3)
    area.store(0, *RAW[:3])
    check_problem(area.put(1, RAW[50]), 507, "pool_full", "invalidated")
    assert [area.is_absent(offset) for offset in range(3)] == [False, True, False]


def test_a_small_page_is_admitted_below_the_limit(area: Area, limit, raw_length: int) -> None:
    """One byte below the limit any page is admitted, whatever its size: the overshoot is at most one page."""
    total = limit(5, 1)
    area.store(0, *RAW[:5])
    area.store(5, RAW[5])
    assert total < area.service.pool()["pool_bytes"] <= total + raw_length
    check_problem(area.put(6, pages.same()), 507, "pool_full")


@pytest.mark.smoke
def test_frames_obey_the_limit(area: Area, tune) -> None:
    """A store in frames is refused by the limit as any other, page by page, zero frames welcome."""
    area.store(1, RAW[1])
    area.store(100, RAW[1])
    tune(max_pool_bytes=1)
    response = area.put_frames(0, frames.zero(0), frames.data(1, RAW[2]), frames.same(2, 2, b"12345678"))
    document = check_problem(response, 507, "pool_full", "invalidated")
    assert (document["stored"], document["rejected"]) == (1, [[1, 3]])
    assert [area.is_absent(offset) for offset in range(4)] == [False, True, True, True]


@pytest.mark.combination("two-workers")
@pytest.mark.smoke
def test_two_workers_overshoot_is_bounded(area: Area, tune) -> None:
    """With several workers the overshoot is at most 4 MiB each, and all of them refuse afterwards."""
    room = 4 << 20
    total = area.service.pool()["pool_bytes"] + room
    tune(max_pool_bytes=total)
    body = b"".join(RAW)
    clients = [area.service.new_client() for _ in range(8)]

    def push(index: int) -> list[int]:
        octets = {"Content-Type": "application/octet-stream"}
        return [
            clients[index].put(area.url(10_000 * index + 200 * n), content=body, headers=octets).status_code
            for n in range(4)
        ]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for part in pool.map(push, range(8)) for status in part]
    for client in clients:
        client.close()
    assert set(statuses) == {204, 507}
    held = area.service.pool()["pool_bytes"]
    assert total <= held <= total + 2 * (4 << 20)
    for _ in range(20):
        with area.service.new_client() as other:
            octets = {"Content-Type": "application/octet-stream"}
            check_problem(other.put(area.url(1), content=RAW[0], headers=octets), 507, "pool_full")
