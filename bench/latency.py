"""Latency: at half of the top rate, and of single GETs beside a client that streams extents in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench import servers, singles
from bench.context import Context
from bench.extents import EXTENT_PAGES
from bench.load import CONNECTIONS, Request, prepare, wrk, wrk_command, wrk_result
from bench.measurement import BenchError, Section, interleave
from bench.paced import in_own_process
from bench.sample_pages import compressible, extents

GET, PUT = singles.GET, singles.PUT
PERCENTILES = ("p50", "p99", "p99.9")
BESIDE = "GETs at 1000/s"
ALONE, STREAMED = "alone", "beside one stream of extents"
_BESIDE_RATE = 1000
_BESIDE_CONNECTIONS = 8
_STREAM_TYPE = 9


def run(context: Context) -> Section:
    """Percentiles in µs."""
    section = Section("latency", "Latency from the moment a request was due", reference=singles.WEBDIS)
    pages = compressible(1024)
    with ExitStack() as stack:
        redis = stack.enter_context(servers.redis(context.home / "r"))
        starts = {
            singles.PAGEPOOL: (servers.pagepool(context.home / "p"), "/v1/pages/{}/{}", "/v1/pages/{}/{}"),
            singles.WEBDIS: (servers.webdis(context.home / "w", redis.socket, 1), "/SET/{}-{}", "/GET/{}-{}.txt"),
        }
        ports: dict[str, int] = {}
        files: dict[str, dict[str, Path]] = {}
        for name, (server, store, load) in starts.items():
            try:
                ports[name] = stack.enter_context(server).port
                peer = singles.Peer(name, ports[name], (), store.format, load.format)
                files[name] = singles.write_requests(context, peer, pages)
            except BenchError as error:
                section.notes.append(f"{name}: left out: {error}")
        try:
            for task in (GET, PUT):
                _half_rate(context, section, task, {name: (ports[name], files[name][task]) for name in files})
            if singles.PAGEPOOL in files:
                _beside_stream(context, section, ports[singles.PAGEPOOL], files[singles.PAGEPOOL][GET])
        except BenchError as error:
            section.notes.append(f"cut short: {error}")
    return section


def _half_rate(context: Context, section: Section, task: str, targets: dict[str, tuple[int, Path]]) -> None:
    top_rates = {name: partial(_top_rate, *target) for name, target in targets.items()}
    tops = interleave(1 if context.is_quick else 2, top_rates, section.notes)
    rates = {name: median(found) / 2 for name, found in tops.items()}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in rates}
    for _ in range(context.rounds):
        for name, rate in rates.items():
            port, file = targets[name]
            rounds[name].append(in_own_process(port, file, rate, context.seconds, CONNECTIONS))
    for share in PERCENTILES:
        found = {name: [one[share] * 1e6 for one in results] for name, results in rounds.items()}
        section.add(f"{task}, {share}", "µs", found, lower_is_better=True)
    section.add(f"{task}, rate sent", "requests/s", {n: [one["rate"] for one in r] for n, r in rounds.items()})
    for name, results in rounds.items():
        reached = median(one["rate"] for one in results)
        if reached < 0.95 * rates[name]:
            section.notes.append(f"{task}, {name}: {reached:.0f}/s sent where {rates[name]:.0f}/s were due")


def _top_rate(port: int, file: Path) -> float:
    return wrk(port, file, 1).rate


def _beside_stream(context: Context, section: Section, port: int, gets: Path) -> None:
    bodies = extents(EXTENT_PAGES)[:8]
    puts = [Request("PUT", f"/v1/pages/{_STREAM_TYPE}/{i * EXTENT_PAGES}", body) for i, body in enumerate(bodies)]
    stream_file = prepare(puts, context.home / "stream.put")
    seconds = 2 * context.seconds
    rounds: dict[str, list[dict[str, float]]] = {ALONE: [], STREAMED: []}
    stream_rates: list[float] = []
    for _ in range(context.rounds):
        rounds[ALONE].append(in_own_process(port, gets, _BESIDE_RATE, seconds, _BESIDE_CONNECTIONS))
        with _stream(port, stream_file, seconds, stream_rates):
            rounds[STREAMED].append(in_own_process(port, gets, _BESIDE_RATE, seconds, _BESIDE_CONNECTIONS))
    for share in PERCENTILES:
        found = {name: [one[share] * 1e6 for one in results] for name, results in rounds.items()}
        section.add(f"{BESIDE}, {share}", "µs", found, lower_is_better=True)
    section.add("the stream beside them", "pages/s", {STREAMED: [EXTENT_PAGES * rate for rate in stream_rates]})


@contextmanager
def _stream(port: int, file: Path, seconds: float, rates: list[float]) -> Iterator[None]:
    """One connection that puts extents without a pause, a little longer than `seconds`."""
    stream = subprocess.Popen(
        wrk_command(port, file, seconds + 2, 1), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield
        output, _ = stream.communicate(timeout=60)
    finally:
        stream.kill()
        stream.wait()
    rates.append(wrk_result(output).rate)
