"""What a load and a store cost among 10^4, 10^5 and 10^6 pages held, with one worker and with two.

Each pool is asked for the same number of addresses, evenly spread over what it holds, so that the processor's caches
do not tell the sizes apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench import servers
from bench.context import Context
from bench.load import Client, Request, prepare, wrk
from bench.measurement import BenchError, Section, interleave
from bench.processor_time import CostedLoad, add_costs
from bench.sample_pages import PAGE_SIZE, compressible

GET, PUT = "GET a page", "PUT a page"
_EXTENT_PAGES = 512
_ADDRESSES = 8192
_DISTINCT = 4096


def peer_of(workers: int, held: int) -> str:
    """The row's name."""
    number = f"{held:,}".replace(",", " ")
    return f"{workers} worker{'s' * (workers > 1)}, {number} pages"


def sizes(context: Context) -> list[int]:
    """Pages held; a quick run leaves out the most, and the second worker."""
    return [10**4, 10**5] if context.is_quick else [10**4, 10**5, 10**6]


def _fill(port: int, held: int, pages: list[bytes]) -> None:
    client = Client(port)
    bodies = [b"".join(pages[start : start + _EXTENT_PAGES]) for start in range(0, len(pages), _EXTENT_PAGES)]
    for number, offset in enumerate(range(0, held, _EXTENT_PAGES)):
        body = bodies[number % len(bodies)][: min(_EXTENT_PAGES, held - offset) * PAGE_SIZE]
        client.send(Request("PUT", f"/v1/pages/1/{offset}", body))
    client.close()


def run(context: Context) -> Section:
    """Requests a second at each size."""
    held_sizes = sizes(context)
    section = Section("growth", "One page a request among many, 32 connections", reference=peer_of(1, held_sizes[0]))
    pages = compressible(_DISTINCT)
    loads: dict[str, Callable[[], float]] = {}
    stores: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        try:
            for held in held_sizes:
                redis = stack.enter_context(servers.redis(context.home / f"r{held}"))
                offsets = [index * held // _ADDRESSES for index in range(_ADDRESSES)]
                random.Random(held).shuffle(offsets)
                paths = [f"/v1/pages/1/{offset}" for offset in offsets]
                gets = prepare([Request("GET", path) for path in paths], context.home / f"{held}.get")
                puts = [Request("PUT", path, pages[i % _DISTINCT]) for i, path in enumerate(paths)]
                put_file = prepare(puts, context.home / f"{held}.put")
                for workers in (1,) if context.is_quick else (1, 2):
                    home = context.home / f"p{held}-{workers}"
                    pool = stack.enter_context(
                        servers.pagepool(
                            home, redis_socket=redis.socket, workers=str(workers), max_pool_bytes=str(1 << 40)
                        )
                    )
                    pids = (pool.pid, redis.pid)
                    if workers == 1:
                        _fill(pool.port, held, pages)
                    loads[peer_of(workers, held)] = CostedLoad(partial(wrk, pool.port, gets, context.seconds), pids)
                    stores[peer_of(workers, held)] = CostedLoad(
                        partial(wrk, pool.port, put_file, context.seconds), pids
                    )
        except BenchError as error:
            section.notes.append(f"pagepool: left out: {error}")
            return section
        for task, tasks in ((GET, loads), (PUT, stores)):
            section.add(task, "requests/s", interleave(context.rounds, tasks, section.notes))
            add_costs(section, task, "request", tasks)
    return section
