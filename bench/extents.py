"""512 pages a request: octet-stream, frames, and frames with LZ4 made by the client.

Beside webdis's single pages, and beside the limit: a bare loop of LZ4 over the same pages on one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import lz4.block
from pagepool_client.frames import decode_answer, encode_pages

from bench import servers, singles
from bench.context import Context
from bench.load import Client, Request, prepare, wrk
from bench.measurement import BenchError, Section, interleave
from bench.processor_time import CostedLoad, add_costs
from bench.sample_pages import PAGE_SIZE, compressible, extents, split

EXTENT_PAGES = 512
CONNECTIONS = 4
BARE = "bare LZ4 loop"
PLAIN, FRAMES, FRAMES_LZ4 = "pagepool, octet-stream", "pagepool, frames", "pagepool, frames with LZ4"
TWO_WORKERS = {PLAIN: "2 workers, octet-stream", FRAMES_LZ4: "2 workers, frames with LZ4"}
"""The forms that two workers are measured with, and the names of what they do."""
PUT, GET = "PUT", "GET"
_TYPES = {PLAIN: 1, FRAMES: 2, FRAMES_LZ4: 3}


def _requests(form: str, bodies: list[bytes]) -> tuple[list[Request], list[Request]]:
    """Stores and loads of all extents in one form."""
    type_ = _TYPES[form]
    stores, loads = [], []
    for index, body in enumerate(bodies):
        offset = index * EXTENT_PAGES
        if form == PLAIN:
            path = f"/v1/pages/{type_}/{offset}"
            sent = body
        else:
            path = f"/v1/frames/{type_}/{offset}"
            sent = encode_pages(body, offset, PAGE_SIZE, lz4=form == FRAMES_LZ4).body
        stores.append(Request("PUT", path, sent))
        query = "&lz4=1" if form == FRAMES_LZ4 else ""
        loads.append(Request("GET", f"{path}?count={EXTENT_PAGES}{query}"))
    return stores, loads


def _check(port: int, form: str, bodies: list[bytes], stores: list[Request], loads: list[Request]) -> None:
    client = Client(port)
    try:
        for store in stores:
            client.send(store)
        for index, (body, load) in enumerate(zip(bodies, loads, strict=True)):
            answer = client.send(load)
            if form != PLAIN:
                frames = decode_answer(answer, PAGE_SIZE, [(index * EXTENT_PAGES, EXTENT_PAGES)])
                answer = b"".join(b"".join(f.buffers) or bytes(f.count * PAGE_SIZE) for f in frames)
            if answer != body:
                raise BenchError(f"{load.path} answered other bytes than were stored")
    finally:
        client.close()


def bare_loops(bodies: list[bytes], seconds: float) -> dict[str, Callable[[], float]]:
    """Pages a second of lz4.block alone over the same pages, one core: what no service in Python can pass."""
    pages = [page for body in bodies for page in split(body)]
    blocks = [lz4.block.compress(page, store_size=False) for page in pages]

    def compress() -> float:
        return _rate(lambda: [lz4.block.compress(page, store_size=False) for page in pages], len(pages), seconds)

    def decompress() -> float:
        return _rate(
            lambda: [lz4.block.decompress(block, uncompressed_size=PAGE_SIZE) for block in blocks], len(pages), seconds
        )

    return {PUT: compress, GET: decompress}


def _rate(work: Callable[[], object], count: int, seconds: float) -> float:
    started = time.perf_counter()
    done = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        work()
        done += count
    return done / elapsed


def run(context: Context) -> Section:
    """Pages a second, by form."""
    section = Section(
        "extents",
        f"{EXTENT_PAGES} pages a request, {CONNECTIONS} connections, 1 worker but where 2 are named",
        reference=BARE,
    )
    bodies = extents(EXTENT_PAGES)[: 16 if context.is_quick else 32]
    bare = bare_loops(bodies, context.seconds)
    tasks: dict[str, dict[str, Callable[[], float]]] = {PUT: {}, GET: {}}
    with ExitStack() as stack:
        try:
            _add_pagepool(context, stack, bodies, tasks, 1, {form: form for form in _TYPES})
            _add_pagepool(context, stack, bodies, tasks, 2, TWO_WORKERS)
        except BenchError as error:
            section.notes.append(f"pagepool: left out: {error}")
        _add_webdis(context, stack, section, tasks)
        for task, loads_by_peer in tasks.items():
            loads_by_peer[BARE] = bare[task]
            section.add(task, "pages/s", interleave(context.rounds, loads_by_peer, section.notes))
            add_costs(section, task, "page", loads_by_peer)
    return section


def _add_pagepool(
    context: Context,
    stack: ExitStack,
    bodies: list[bytes],
    tasks: dict[str, dict[str, Callable[[], float]]],
    workers: int,
    names: dict[str, str],
) -> None:
    """A service with so many workers, in the forms that are named."""
    home = context.home / f"p{workers}"
    pool = stack.enter_context(servers.pagepool(home, workers=str(workers)))
    for form, name in names.items():
        stores, loads = _requests(form, bodies)
        _check(pool.port, form, bodies, stores, loads)
        for task, requests in ((PUT, stores), (GET, loads)):
            file = prepare(requests, home / f"{_TYPES[form]}.{task}")
            load = partial(wrk, pool.port, file, context.seconds, CONNECTIONS)
            tasks[task][name] = CostedLoad(load, (pool.pid,), EXTENT_PAGES)


def _add_webdis(
    context: Context, stack: ExitStack, section: Section, tasks: dict[str, dict[str, Callable[[], float]]]
) -> None:
    """Webdis's single pages, in the same rounds."""
    pages = compressible(1024)
    redis = stack.enter_context(servers.redis(context.home / "r"))
    for threads in (1, 2):
        name = f"{singles.WEBDIS} single pages, {threads} thread{'s' * (threads > 1)}"
        try:
            server = stack.enter_context(servers.webdis(context.home / f"w{threads}", redis.socket, threads))
            paths = ("/SET/{}-{}".format, "/GET/{}-{}.txt".format)
            peer = singles.Peer(name, server.port, (server.pid, redis.pid), *paths)
            files = singles.write_requests(context, peer, pages)
        except BenchError as error:
            section.notes.append(f"{name}: left out: {error}")
            continue
        for task, file in ((PUT, files[singles.PUT]), (GET, files[singles.GET])):
            tasks[task][name] = CostedLoad(partial(wrk, server.port, file, context.seconds), peer.pids)
