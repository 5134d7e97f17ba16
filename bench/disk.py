"""An image read through nbdkit curl from Pagepool and from nginx, and from nbdkit memory directly."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench import servers
from bench.context import Context
from bench.load import Client, Request
from bench.measurement import BenchError, Section, interleave
from bench.memory import store
from bench.sample_pages import PAGE_SIZE
from bench.snapshot import image, seconds_of

PAGEPOOL, NGINX, MEMORY = "nbdkit curl, pagepool", "nbdkit curl, nginx", "nbdkit memory"
SEQUENTIAL, RANDOM = "sequential read", "random reads of 4 KiB"
_TYPE = 1
_DEPTH = 16


def random_reads(uri: str, size: int, seconds: float) -> float:
    """Reads a second that fio gets through over NBD.

    Raises:
        BenchError: fio is missing, lacks the nbd engine, or failed.
    """
    fio = servers.executable("fio")
    if fio is None:
        raise BenchError("fio is not installed")
    command = [fio, "--name=r", "--ioengine=nbd", f"--uri={uri}", "--rw=randread", f"--bs={PAGE_SIZE}"]
    command += [f"--iodepth={_DEPTH}", f"--size={size}", "--time_based", f"--runtime={max(1, round(seconds))}"]
    run = subprocess.run([*command, "--output-format=json"], capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"fio failed: {(run.stderr or run.stdout)[-300:]}")
    report = json.loads(run.stdout[run.stdout.index("{") :])
    return float(report["jobs"][0]["read"]["iops"])


def run(context: Context) -> Section:
    """MiB/s in sequence, reads a second at random."""
    section = Section("disk", "An image read over NBD", reference=NGINX)
    folder = context.home / "www"
    folder.mkdir()
    source = image(context, 1 if context.is_quick else 4).rename(folder / "image")
    size = source.stat().st_size
    nbdcopy = servers.executable("nbdcopy")
    sequential: dict[str, Callable[[], float]] = {}
    random_: dict[str, Callable[[], float]] = {}

    def add(name: str, server: servers.NbdServer) -> None:
        if nbdcopy is None:
            raise BenchError("nbdcopy (libnbd-bin) is not installed")
        target = context.home / "copy"
        seconds_of([nbdcopy, server.uri, str(target)])
        if target.read_bytes() != source.read_bytes():
            raise BenchError("what was read differs from the image")
        target.unlink()
        sequential[name] = lambda: size / (1 << 20) / seconds_of([nbdcopy, server.uri, "null:"])
        random_[name] = partial(random_reads, server.uri, size, context.seconds)

    with ExitStack() as stack:

        def start_pagepool() -> servers.NbdServer:
            pool = stack.enter_context(servers.pagepool(context.home / "p"))
            client = Client(pool.port)
            store(client, _TYPE, source.read_bytes())
            client.send_json("PUT", f"/v1/types/{_TYPE}", {"image_bytes": size})
            client.send(Request("HEAD", f"/v1/types/{_TYPE}/image"))
            client.close()
            url = f"url=http://127.0.0.1:{pool.port}/v1/types/{_TYPE}/image"
            return stack.enter_context(servers.nbdkit(context.home / "np", "curl", url))

        def start_nginx() -> servers.NbdServer:
            server = stack.enter_context(servers.nginx(context.home / "x", folder, "/image"))
            url = f"url=http://127.0.0.1:{server.port}/image"
            return stack.enter_context(servers.nbdkit(context.home / "nx", "curl", url))

        def start_memory() -> servers.NbdServer:
            server = stack.enter_context(servers.nbdkit(context.home / "nm", "memory", f"size={size}"))
            if nbdcopy is not None:
                seconds_of([nbdcopy, str(source), server.uri])
            return server

        for name, start in ((PAGEPOOL, start_pagepool), (NGINX, start_nginx), (MEMORY, start_memory)):
            try:
                add(name, start())
            except BenchError as error:
                section.notes.append(f"{name}: left out: {error}")
        section.add(SEQUENTIAL, "MiB/s", interleave(context.rounds, sequential, section.notes))
        section.add(RANDOM, "reads/s", interleave(context.rounds, random_, section.notes))
    return section
