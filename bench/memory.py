"""Bytes that Redis holds for the pages of each sample file, beside zram (lz4) on the same pages.

zram is asked where this process may (a device of its own through zram-control, removed at the end); its figure is
mem_used_total of mm_stat, which leaves out zram's own table of 16 bytes a page, as used_memory leaves out nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench import servers
from bench.context import Context
from bench.load import Client, Request
from bench.measurement import BenchError, Section
from bench.sample_pages import PAGE_SIZE, ZERO_PAGE, files, split

PAGEPOOL = "pagepool (Redis used_memory)"
POOL_BYTES = "pagepool (pool_bytes)"
ZRAM = "zram lz4 (mem_used_total)"
ZERO_RUN = "500 000 zero pages in one run"
_CONTROL = Path("/sys/class/zram-control")
_EXTENT_PAGES = 512


def task_of(name: str) -> str:
    """All pages of a file."""
    return f"{name}, all pages"


@contextlib.contextmanager
def _zram(size: int) -> Iterator[tuple[Path, Path]]:
    """A zram device of our own with lz4: its block device, and its folder in sysfs."""
    if os.geteuid() or not (_CONTROL / "hot_add").exists():
        raise BenchError("the kernel offers no zram to this user")
    try:
        number = (_CONTROL / "hot_add").read_text().strip()
    except OSError as error:
        raise BenchError(f"zram refuses a device: {error.strerror}") from error
    system = Path(f"/sys/block/zram{number}")
    try:
        try:
            (system / "comp_algorithm").write_text("lz4")
            (system / "disksize").write_text(str(size))
        except OSError as error:
            raise BenchError(f"zram takes no lz4: {error.strerror}") from error
        yield Path(f"/dev/zram{number}"), system
    finally:
        (system / "reset").write_text("1")
        (_CONTROL / "hot_remove").write_text(number)


def zram_bytes(data: bytes) -> int:
    """What zram holds for these pages.

    Raises:
        BenchError: no zram here, or not for this user.
    """
    with _zram(len(data)) as (device, system):
        if not device.exists():
            raise BenchError("zram's device node is missing")
        with device.open("r+b", buffering=0) as disk:
            disk.write(data)
            os.fsync(disk.fileno())
        return int((system / "mm_stat").read_text().split()[2])


def used_memory(client: Client) -> int:
    """Redis's used_memory, once it stands still."""
    last = -1
    for _ in range(50):
        now = int(client.get_json("/v1/pool")["redis_used_memory_bytes"] or 0)
        if now == last:
            break
        last = now
        time.sleep(0.2)
    return last


def pool_bytes(client: Client) -> int:
    """Bytes of blobs, envelopes included."""
    return int(client.get_json("/v1/pool")["pool_bytes"] or 0)


def store(client: Client, type_: int, data: bytes) -> None:
    """Store an image's pages from offset 0 on, extent by extent."""
    for start in range(0, len(data), _EXTENT_PAGES * PAGE_SIZE):
        body = data[start : start + _EXTENT_PAGES * PAGE_SIZE]
        client.send(Request("PUT", f"/v1/pages/{type_}/{start // PAGE_SIZE}", body))


def run(context: Context) -> Section:
    """Bytes a page, by file."""
    section = Section("memory", "Bytes of memory a page", reference=ZRAM)
    pages = {name: split(data) for name, data in files().items()}
    tasks = {task_of(name): data for name, data in files().items()}
    tasks |= {
        f"{name}, without its zero pages": b"".join(page for page in held if page != ZERO_PAGE)
        for name, held in pages.items()
        if ZERO_PAGE in held
    }
    try:
        with servers.pagepool(context.home / "p") as pool:
            client = Client(pool.port)
            client.send(Request("PUT", f"/v1/pages/{len(tasks) + 2}/0", b"\x01" * PAGE_SIZE))
            for type_, (task, data) in enumerate(tasks.items()):
                before, before_blobs = used_memory(client), pool_bytes(client)
                store(client, type_, data)
                count = len(data) // PAGE_SIZE
                held = (used_memory(client) - before) / count
                section.add(task, "bytes/page", {PAGEPOOL: [held]}, lower_is_better=True)
                blobs = (pool_bytes(client) - before_blobs) / count
                section.add(task, "bytes/page", {POOL_BYTES: [blobs]}, lower_is_better=True)
            before = used_memory(client)
            count = 500_000
            _zero_run(client, len(tasks) + 1, count)
            held = (used_memory(client) - before) / count
            section.add(ZERO_RUN, "bytes/page", {PAGEPOOL: [held]}, lower_is_better=True)
            client.close()
    except BenchError as error:
        section.notes.append(f"pagepool: left out: {error}")
    try:
        for task, data in tasks.items():
            held = zram_bytes(data) / (len(data) // PAGE_SIZE)
            section.add(task, "bytes/page", {ZRAM: [held]}, lower_is_better=True)
    except BenchError as error:
        section.notes.append(f"zram: left out: {error}")
    order = [*tasks, ZERO_RUN]
    section.measurements.sort(key=lambda one: order.index(one.task))
    return section


def _zero_run(client: Client, type_: int, count: int) -> None:
    """Store `count` zero pages as pages, not with the call that zeroes a range."""
    zeros = bytes(_EXTENT_PAGES * PAGE_SIZE)
    for offset in range(0, count, _EXTENT_PAGES):
        body = zeros[: min(_EXTENT_PAGES, count - offset) * PAGE_SIZE]
        client.send(Request("PUT", f"/v1/pages/{type_}/{offset}", body))
