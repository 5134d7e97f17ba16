"""The figures that docs/scaling.md reckons with: memory, processor time and traffic for a page, by kind.

    python -m bench.capacity

One worker on one Redis. Processor time is what the processes took, not what went by, so that it holds on a machine
that others use as well; 10^6 over it is what a core can do. How fast the core was is told by the time that bare LZ4
takes to compress one of the same pages: other machines' figures follow from theirs.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lz4.block
import redis
from rich.console import Console
from rich.table import Table

from bench import servers
from bench.load import Client, Request, Sent, prepare, wrk
from bench.memory import pool_bytes, used_memory
from bench.processor_time import CostedLoad
from bench.sample_pages import PAGE_SIZE, compressible

EXTENT_PAGES = 512
MEMORY_PAGES = 64 * EXTENT_PAGES
SINGLE_PAGES = 4096
SECONDS = 4.0
ROUNDS = 3


def _same(seed: int) -> bytes:
    return random.Random(seed).randbytes(8) * (PAGE_SIZE // 8)


def _raw(seed: int) -> bytes:
    return random.Random(seed).randbytes(PAGE_SIZE)


def kinds() -> dict[str, list[bytes]]:
    """Pages of each kind, as many as an extent has; the compressed ones are real."""
    return {
        "zero": [bytes(PAGE_SIZE)] * EXTENT_PAGES,
        "same": [_same(seed) for seed in range(EXTENT_PAGES)],
        "compressed": compressible(EXTENT_PAGES),
        "raw": [_raw(seed) for seed in range(EXTENT_PAGES)],
    }


def memory(home: Path, table: Table) -> None:
    """Bytes of Redis's memory a page: side by side, and each alone among 4096 pages that are absent."""
    with servers.pagepool(home, max_pool_bytes="0") as pool:
        client = Client(pool.port)
        for type_, (kind, pages) in enumerate(kinds().items()):
            before, blobs = used_memory(client), pool_bytes(client)
            body = b"".join(pages)
            for offset in range(0, MEMORY_PAGES, EXTENT_PAGES):
                client.send(Request("PUT", f"/v1/pages/{2 * type_}/{offset}", body))
            dense = (used_memory(client) - before) / MEMORY_PAGES
            blob = (pool_bytes(client) - blobs) / MEMORY_PAGES
            before = used_memory(client)
            for place in range(SINGLE_PAGES):
                client.send(Request("PUT", f"/v1/pages/{2 * type_ + 1}/{place * 4096}", pages[place % EXTENT_PAGES]))
            lone = (used_memory(client) - before) / SINGLE_PAGES
            table.add_row(kind, f"{blob:.0f}", f"{dense:.1f}", f"{lone:.0f}")
        client.close()


def extents(port: int, method: str, bodies: list[bytes]) -> Sent:
    """Whole extents one after the other."""
    client = Client(port)
    count = 40
    for number in range(count):
        offset = number % len(bodies) * EXTENT_PAGES
        if method == "PUT":
            client.send(Request("PUT", f"/v1/pages/1/{offset}", bodies[number % len(bodies)]))
        else:
            client.send(Request("GET", f"/v1/pages/1/{offset}?count={EXTENT_PAGES}"))
    client.close()
    return Sent(count, 1.0)


def _traffic(socket: Path) -> tuple[int, int]:
    with redis.Redis(unix_socket_path=str(socket)) as connection:
        info = connection.info("stats")
    return int(info["total_net_input_bytes"]), int(info["total_net_output_bytes"])


def work(home: Path, table: Table) -> None:
    """Processor time of the service and of Redis a page, and the bytes between them."""
    pages = compressible(SINGLE_PAGES)
    bodies = [b"".join(pages[start : start + EXTENT_PAGES]) for start in range(0, SINGLE_PAGES, EXTENT_PAGES)]
    singles = {
        method: prepare(
            [Request(method, f"/v1/pages/2/{n}", page if method == "PUT" else None) for n, page in enumerate(pages)],
            home / method,
        )
        for method in ("PUT", "GET")
    }
    with servers.redis(home / "r") as store, servers.pagepool(home / "p", redis_socket=store.socket) as pool:
        for method in ("PUT", "GET"):
            forms: dict[str, tuple[Callable[[], Sent], int]] = {
                "one page": (lambda method=method: wrk(pool.port, singles[method], SECONDS), 1),
                "512 pages": (lambda method=method: extents(pool.port, method, bodies), EXTENT_PAGES),
            }
            for form, (load, units) in forms.items():
                costed = CostedLoad(load, [pool.pid, store.pid], units)
                before = _traffic(store.socket)
                rates = [costed() for _ in range(ROUNDS)]
                after = _traffic(store.socket)
                sent = sum(rates) * (SECONDS if units == 1 else 1.0)
                app_us, redis_us = min(costed.server), min(costed.redis)
                table.add_row(
                    f"{method}, {form} a request",
                    f"{app_us:.1f}",
                    f"{1e6 / app_us:,.0f}",
                    f"{redis_us:.1f}",
                    f"{1e6 / redis_us:,.0f}",
                    f"{(after[0] - before[0]) / sent:.0f}",
                    f"{(after[1] - before[1]) / sent:.0f}",
                )


def yardstick() -> tuple[float, float]:
    """Microseconds of processor time that LZ4 takes for one of the compressed pages: on average, and at best."""
    pages, rounds = compressible(EXTENT_PAGES), []
    for _ in range(200):
        began = time.process_time()
        for page in pages:
            lz4.block.compress(page, store_size=False)
        rounds.append((time.process_time() - began) / len(pages) * 1e6)
    return sum(rounds) / len(rounds), min(rounds)


def looks(home: Path, table: Table) -> None:
    """Processor time of one look at the totals of all stripes, which GET /v1/pool makes."""
    for stripes in (16, 1024, 16384):
        with (
            servers.redis(home / f"r{stripes}") as store,
            servers.pagepool(home / f"p{stripes}", redis_socket=store.socket, stripes=str(stripes)) as pool,
        ):
            client = Client(pool.port)
            count = max(20, 20_000 // stripes)

            def ask(client: Client = client, count: int = count) -> Sent:
                for _ in range(count):
                    client.get_json("/v1/pool")
                return Sent(count, 1.0)

            costed = CostedLoad(ask, [pool.pid, store.pid])
            for _ in range(ROUNDS):
                costed()
            client.close()
            table.add_row(f"{stripes}", f"{min(costed.server):,.0f}", f"{min(costed.redis):,.0f}")


def main() -> None:
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="ppb-") as home:
        table = Table("kind", title="Bytes a page")
        for column in ("blob", "in Redis, dense", "in Redis, alone"):
            table.add_column(column, justify="right")
        memory(Path(home) / "m", table)
        console.print(table)
        table = Table("compressed pages", title="Work a page, one worker")
        for column in ("app µs", "pages/s, core", "Redis µs", "pages/s, core", "bytes to Redis", "bytes from Redis"):
            table.add_column(column, justify="right")
        (Path(home) / "w").mkdir()
        work(Path(home) / "w", table)
        console.print(table)
        average, best = yardstick()
        console.print(
            f"Bare LZ4 took {average:.1f} µs to compress such a page, {best:.1f} µs when nothing disturbed it."
        )
        table = Table("stripes", title="A look at the totals")
        for column in ("app µs", "Redis µs"):
            table.add_column(column, justify="right")
        looks(Path(home) / "l", table)
        console.print(table)


if __name__ == "__main__":
    main()
