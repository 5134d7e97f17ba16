"""A whole image in and out: `pagepool import` and `export` beside nbdcopy into and out of nbdkit memory.

The command's time includes the start of a Python process; the client's own does not. Memory is what is held once the
image is in: Redis's used_memory, nbdkit's resident memory, each less what it was before.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import servers
from bench.context import Context
from bench.load import Client
from bench.measurement import BenchError, Section, interleave
from bench.memory import used_memory
from bench.sample_pages import PAGE_SIZE, snapshot

IN, OUT, HELD = "image in", "image out", "memory held"
CLIENT, COMMAND = "pagepool client", "pagepool command"
SPARSE, ZSTD = "nbdkit memory, sparse", "nbdkit memory, zstd"
_TYPE = 1


def image(context: Context, copies: int) -> Path:
    """The snapshots, `copies` times over, in a file that is read back from the page cache."""
    path = context.home / "image"
    with path.open("wb") as output:
        for _ in range(copies):
            output.write(snapshot())
    return path


def seconds_of(command: list[str], environment: dict[str, str] | None = None) -> float:
    """How long a command takes.

    Raises:
        BenchError: it failed.
    """
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {(run.stderr or run.stdout)[-300:]}")
    return time.perf_counter() - started


def run(context: Context) -> Section:
    """Pages a second in and out, and bytes held."""
    source = image(context, 1 if context.is_quick else 8)
    pages = source.stat().st_size // PAGE_SIZE
    section = Section("snapshot", f"An image of {source.stat().st_size >> 20} MiB, in and out", reference=ZSTD)
    copies = Copies(context, source, context.home / "copy")
    with ExitStack() as stack:
        for allocator, name in (("sparse", SPARSE), ("zstd", ZSTD)):
            try:
                copies.add_nbdkit(stack, name, allocator)
            except BenchError as error:
                section.notes.append(f"{name}: left out: {error}")
        try:
            copies.add_pagepool(stack)
        except Exception as error:  # noqa: BLE001  # the client has errors of its own; all leave this peer out
            section.notes.append(f"pagepool: left out: {error!r}")
        for task, works in copies.tasks.items():
            seconds = interleave(context.rounds, works, section.notes)
            section.add(task, "pages/s", {name: [pages / s for s in found] for name, found in seconds.items()})
            section.add(f"{task}, time", "s", seconds, lower_is_better=True)
    per_page = {name: [figure / pages for figure in figures] for name, figures in copies.held.items()}
    section.add(HELD, "bytes/page", per_page, lower_is_better=True)
    return section


class Copies:
    """The ways to copy one image in and out, each into an empty server and out of a full one."""

    def __init__(self, context: Context, source: Path, target: Path) -> None:
        self.tasks: dict[str, dict[str, Callable[[], float]]] = {IN: {}, OUT: {}}
        self.held: dict[str, list[float]] = {}
        self._context = context
        self._source = source
        self._target = target

    def add_nbdkit(self, stack: ExitStack, name: str, allocator: str) -> None:
        """Nbdcopy into a fresh nbdkit each time, and out of one that stays."""
        nbdcopy = servers.executable("nbdcopy")
        if nbdcopy is None:
            raise BenchError("nbdcopy (libnbd-bin) is not installed")
        source, target = str(self._source), str(self._target)
        plugin = ("memory", f"size={self._source.stat().st_size}", f"allocator={allocator}")
        self.held[name] = []

        def copy_in() -> float:
            with servers.nbdkit(self._context.home / f"i{allocator}", *plugin) as server:
                before = servers.resident_bytes(server.pid)
                seconds = seconds_of([nbdcopy, source, server.uri])
                self.held[name].append(servers.resident_bytes(server.pid) - before)
                return seconds

        full = stack.enter_context(servers.nbdkit(self._context.home / f"o{allocator}", *plugin))
        seconds_of([nbdcopy, source, full.uri])
        copy_out = [nbdcopy, full.uri, target]
        self._check(lambda: seconds_of(copy_out))
        self.tasks[IN][name] = copy_in
        self.tasks[OUT][name] = lambda: self._out(copy_out)

    def add_pagepool(self, stack: ExitStack) -> None:
        """The client's import and export in this process, and the commands; the type is deleted between imports."""
        from pagepool_client import Client as PagepoolClient  # noqa: PLC0415  # its own section fails without it

        pool = stack.enter_context(servers.pagepool(self._context.home / "p", max_pool_bytes=str(1 << 40)))
        url = f"http://127.0.0.1:{pool.port}"
        numbers = Client(pool.port)
        stack.callback(numbers.close)
        client = stack.enter_context(PagepoolClient(url))
        before = used_memory(numbers)
        pages = self._source.stat().st_size // PAGE_SIZE
        client.import_pages(self._source, _TYPE)
        self.held[CLIENT] = [used_memory(numbers) - before]

        def export_pages() -> float:
            self._target.unlink(missing_ok=True)
            started = time.perf_counter()
            client.export_pages(_TYPE, self._target, 0, pages)
            return time.perf_counter() - started

        def import_pages() -> float:
            client.delete_type(_TYPE)
            started = time.perf_counter()
            client.import_pages(self._source, _TYPE)
            return time.perf_counter() - started

        program = str(servers.PAGEPOOL)
        command_in = [program, "import", str(self._source), "--type", str(_TYPE), "--url", url]
        command_out = [program, "export", "--type", str(_TYPE), str(self._target), "--url", url]

        def run_import() -> float:
            client.delete_type(_TYPE)
            return seconds_of(command_in)

        self._check(export_pages)
        self.tasks[IN] |= {CLIENT: import_pages, COMMAND: run_import}
        self.tasks[OUT] |= {CLIENT: export_pages, COMMAND: lambda: self._out(command_out)}

    def _out(self, command: list[str]) -> float:
        self._target.unlink(missing_ok=True)
        return seconds_of(command)

    def _check(self, copy_out: Callable[[], object]) -> None:
        self._target.unlink(missing_ok=True)
        copy_out()
        if self._target.read_bytes() != self._source.read_bytes():
            raise BenchError("what was copied out differs from what was copied in")
