"""One page a request, 32 connections, one worker: Pagepool through both doors, webdis, and the naive version."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import servers
from bench.context import Context
from bench.load import Request, fill_and_check, prepare, wrk
from bench.measurement import BenchError, Section, interleave
from bench.processor_time import CostedLoad, add_costs
from bench.sample_pages import ZERO_PAGE, compressible

PAGEPOOL = "pagepool"
PAGEPOOL_ASGI = "pagepool, asgi door"
WEBDIS = "webdis"
NAIVE = "naive"
GET, PUT, ZERO_GET, ZERO_PUT = "GET a page", "PUT a page", "GET a zero page", "PUT a zero page"

_ZERO_TYPE = 2
_PAGE_TYPE = 1


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure, and how it spells an address."""

    name: str
    port: int
    pids: tuple[int, ...]
    """The processes that serve it, below which all others are its own too."""
    store_path: Callable[[int, int], str]
    load_path: Callable[[int, int], str]


def _pages_path(prefix: str, type_: int, offset: int) -> str:
    return f"{prefix}/pages/{type_}/{offset}"


def start_peers(context: Context, stack: ExitStack, notes: list[str]) -> list[Peer]:
    """Every peer that can be started, each on a Redis of the same build; the others are noted."""
    pagepool_path = partial(_pages_path, "/v1")
    naive_path = partial(_pages_path, "")
    peers: list[Peer] = []

    def start(
        name: str,
        server: AbstractContextManager[servers.HttpServer],
        store: Callable[[int, int], str],
        load: Callable[[int, int], str],
        *more_pids: int,
    ) -> None:
        try:
            running = stack.enter_context(server)
        except BenchError as error:
            notes.append(f"{name}: left out: {error}")
        else:
            peers.append(Peer(name, running.port, (running.pid, *more_pids), store, load))

    home = context.home
    start(PAGEPOOL, servers.pagepool(home / "p"), pagepool_path, pagepool_path)
    start(PAGEPOOL_ASGI, servers.pagepool(home / "a", door="asgi"), pagepool_path, pagepool_path)
    redis = stack.enter_context(servers.redis(home / "r"))
    for threads in (1, 2):
        start(
            f"{WEBDIS}, {threads} thread{'s' * (threads > 1)}",
            servers.webdis(home / f"w{threads}", redis.socket, threads),
            lambda type_, offset: f"/SET/{type_}-{offset}",
            lambda type_, offset: f"/GET/{type_}-{offset}.txt",
            redis.pid,
        )
    start(NAIVE, servers.naive(home / "n", redis.socket), naive_path, naive_path, redis.pid)
    return peers


def write_requests(context: Context, peer: Peer, pages: list[bytes]) -> dict[str, Path]:
    """Fill a peer, check what it answers, and prepare its requests in a shuffled order."""
    files: dict[str, Path] = {}
    order = list(range(len(pages)))
    random.Random(1).shuffle(order)
    for type_, put, get in ((_PAGE_TYPE, PUT, GET), (_ZERO_TYPE, ZERO_PUT, ZERO_GET)):
        if type_ == _ZERO_TYPE and peer.name != PAGEPOOL:
            continue  # what the others do with a page of zeros is what they do with any page
        bodies = pages if type_ == _PAGE_TYPE else [ZERO_PAGE] * len(pages)
        stores = [Request("PUT", peer.store_path(type_, index), bodies[index]) for index in order]
        loads = [Request("GET", peer.load_path(type_, index)) for index in order]
        fill_and_check(peer.port, stores, loads)
        stem = f"{peer.name}-{type_}".replace(",", "").replace(" ", "-")
        files[put] = prepare(stores, context.home / f"{stem}.put")
        files[get] = prepare(loads, context.home / f"{stem}.get")
    return files


def run(context: Context) -> Section:
    """Requests a second of each peer."""
    section = Section("singles", "One page a request, 32 connections, 1 worker", reference=WEBDIS)
    pages = compressible(1024 if context.is_quick else 4096)
    with ExitStack() as stack:
        requests: list[tuple[Peer, dict[str, Path]]] = []
        for peer in start_peers(context, stack, section.notes):
            try:
                requests.append((peer, write_requests(context, peer, pages)))
            except BenchError as error:
                section.notes.append(f"{peer.name}: left out: {error}")
        # A page and a zero page are compared with each other too, so they share their rounds.
        for tasks in ((GET, ZERO_GET), (PUT, ZERO_PUT)):
            loads: dict[str, dict[str, Callable[[], float]]] = {task: {} for task in tasks}
            in_turn: dict[str, Callable[[], float]] = {}
            for peer, files in requests:
                for task in tasks:
                    if task in files:
                        load = CostedLoad(partial(wrk, peer.port, files[task], context.seconds), peer.pids)
                        loads[task][peer.name] = in_turn[f"{task}, {peer.name}"] = load
            rounds = interleave(context.rounds, in_turn, section.notes)
            for task, by_peer in loads.items():
                found = {peer: rounds[f"{task}, {peer}"] for peer in by_peer if f"{task}, {peer}" in rounds}
                section.add(task, "requests/s", found)
                add_costs(section, task, "request", by_peer)
    return section
