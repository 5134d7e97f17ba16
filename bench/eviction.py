"""Eviction: hit rates of the second chance beside exact LRU and random, and what the marks cost a GET.

Hit rates are a simulation: the hand as app/store/shrink_run.lua moves it (by address; what is stored or loaded has a
second chance; from the wake mark down to the accept threshold at once, as app/pool/shrinker.py does it), on the same
traces as a cache that knows the exact order of use and one that takes any page. All have room for a tenth of the pages.
The GETs are measured on the service: a plain type and one that evicts, in turn on one service.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate, cycle, islice

from bench import servers
from bench.context import Context
from bench.load import Client, Request, fill_and_check, prepare, wrk
from bench.measurement import BenchError, Section, interleave
from bench.sample_pages import compressible

PAGES = 20_000
ROOM = PAGES // 10
ACCESSES = 300_000
WAKE, REOPEN = 0.95, 0.9
"""Where the shrinker begins, and how far it goes, with the accept threshold as it is by default."""

LRU, RANDOM, SECOND_CHANCE, AT_ONCE = "exact LRU", "random", "second chance, as shipped", "second chance, page by page"
PLAIN, EVICTING = "plain type", "evicting type"
GET = "GET a page"
_STORED = 2000
_SEED = 20260101

Cache = Callable[[Iterator[int], int], float]


def zipf(count: int) -> Iterator[int]:
    """Pages by Zipf's law with exponent 0.9, the popular ones anywhere."""
    chance = random.Random(_SEED)
    places = list(range(PAGES))
    chance.shuffle(places)
    weights = list(accumulate((rank + 1) ** -0.9 for rank in range(PAGES)))
    return iter(chance.choices(places, cum_weights=weights, k=count))


def scan_and_loop(count: int) -> Iterator[int]:
    """A loop over half of the room, again and again, and beside it a scan over everything."""
    chance = random.Random(_SEED)
    loop, scan = cycle(range(ROOM // 2)), cycle(range(ROOM, PAGES))
    return (next(loop if chance.random() < 0.5 else scan) for _ in range(count))


def large_loop(count: int) -> Iterator[int]:
    """A loop over somewhat more than there is room for: what LRU is worst at."""
    return islice(cycle(range(ROOM + ROOM // 4)), count)


TRACES: dict[str, Callable[[int], Iterator[int]]] = {
    "Zipf 0.9": zipf,
    "loop and scan": scan_and_loop,
    "loop larger than the room": large_loop,
}


def lru(trace: Iterator[int], room: int) -> float:
    """Share of hits where what was used longest ago goes."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = total = 0
    for page in trace:
        total += 1
        if page in held:
            hits += 1
            held.move_to_end(page)
            continue
        if len(held) >= room:
            held.popitem(last=False)
        held[page] = None
    return hits / total


def any_page(trace: Iterator[int], room: int) -> float:
    """Share of hits where any page goes."""
    chance = random.Random(_SEED)
    held: dict[int, int] = {}
    order: list[int] = []
    hits = total = 0
    for page in trace:
        total += 1
        if page in held:
            hits += 1
            continue
        if len(order) >= room:
            place = chance.randrange(len(order))
            del held[order[place]]
            order[place] = page
        else:
            place = len(order)
            order.append(page)
        held[page] = place
    return hits / total


def second_chance(trace: Iterator[int], room: int, wake: float, reopen: float) -> float:
    """Share of hits where the hand takes what was not referenced since it last passed, in the order of addresses."""
    referenced: dict[int, bool] = {}
    present = bytearray(PAGES)
    hand = hits = total = 0
    for page in trace:
        total += 1
        if present[page]:
            hits += 1
            referenced[page] = True
            continue
        if len(referenced) >= room * wake:
            while len(referenced) > min(room * reopen, room - 1):
                if present[hand]:
                    if referenced[hand]:
                        referenced[hand] = False
                    else:
                        present[hand] = 0
                        del referenced[hand]
                hand = (hand + 1) % PAGES
        present[page] = 1
        referenced[page] = True
    return hits / total


CACHES: dict[str, Cache] = {
    SECOND_CHANCE: lambda trace, room: second_chance(trace, room, WAKE, REOPEN),
    AT_ONCE: lambda trace, room: second_chance(trace, room, 1.0, 1.0),
    LRU: lru,
    RANDOM: any_page,
}


def run(context: Context) -> Section:
    """Hit rates by trace, then GETs of a plain and of an evicting type."""
    section = Section("eviction", "Eviction: hit rates, and the cost of marks", reference=LRU)
    accesses = ACCESSES // 10 if context.is_quick else ACCESSES
    for name, trace in TRACES.items():
        rates = {peer: [100 * cache(trace(accesses), ROOM)] for peer, cache in CACHES.items()}
        section.add(f"hits, {name}", "%", rates)
    section.notes.append("no package at hand ships a block or page trace of a real machine: three made ones")
    try:
        _loads(context, section)
    except BenchError as error:
        section.notes.append(f"GETs: left out: {error}")
    return section


def _loads(context: Context, section: Section) -> None:
    with servers.pagepool(context.home / "p", max_pool_bytes="0") as pool:
        client = Client(pool.port)
        client.send_json("PUT", "/v1/types/2", {"eviction": "second-chance"})
        pages = compressible(_STORED)
        order = list(range(_STORED))
        random.Random(_SEED).shuffle(order)
        files = {}
        for type_, peer in ((1, PLAIN), (2, EVICTING)):
            stores = [Request("PUT", f"/v1/pages/{type_}/{at}", page) for at, page in enumerate(pages)]
            loads = [Request("GET", f"/v1/pages/{type_}/{at}") for at in range(_STORED)]
            fill_and_check(pool.port, stores, loads)
            files[peer] = prepare([loads[at] for at in order], context.home / f"{type_}.requests")
        rates = {peer: (lambda file=file: wrk(pool.port, file, context.seconds).rate) for peer, file in files.items()}
        section.add(GET, "requests/s", interleave(2 * context.rounds, rates, section.notes))
        client.close()
