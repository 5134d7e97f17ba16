"""The bars: what the service has to reach beside its peers in the same run, what it aims at, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import engine, extents, growth, latency, memory, singles, snapshot
from bench.measurement import Section, ratio
from bench.sample_pages import files

Sections = Mapping[str, Section]
Figure = Callable[[Sections], float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `at_most` turns it round."""

    text: str
    bar: float
    aim: float | None
    figure: Figure
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A bar and its measured figure; None where a peer or the service was absent."""

    text: str
    bar: float
    aim: float | None
    measured: float | None
    at_most: bool

    @property
    def is_met(self) -> bool | None:
        """Whether the bar holds; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar


def _against(section: str, task: str, peer: str, other: str, other_task: str | None = None) -> Figure:
    """`peer` over the best peer whose name begins with `other`."""

    def figure(sections: Sections) -> float | None:
        found = sections.get(section)
        if found is None:
            return None
        return ratio(found.find(task, peer), found.best(other_task or task, other))

    return figure


def _saved(task: str) -> Figure:
    """The share of time that the check saves, as a negative number of percent: the zero-page patch's way to say it."""

    def figure(sections: Sections) -> float | None:
        found = _against("engine", task, engine.WITH, engine.WITHOUT)(sections)
        return None if found is None else 100 * (found - 1)

    return figure


def _percent(inner: Figure) -> Figure:
    def figure(sections: Sections) -> float | None:
        found = inner(sections)
        return None if found is None else 100 * found

    return figure


def _growth(task: str) -> Figure:
    """Time of a load or store among the most pages, over the time among the fewest."""

    def figure(sections: Sections) -> float | None:
        found = sections.get("growth")
        if found is None:
            return None
        return ratio(found.find(task, growth.peer_of(1, 10**4)), found.find(task, growth.peer_of(1, 10**6)))

    return figure


def all_bars() -> list[Bar]:
    """Every bar, in the order of the sections."""
    pagepool, webdis, naive = singles.PAGEPOOL, singles.WEBDIS, singles.NAIVE
    get, put = singles.GET, singles.PUT
    bars = []
    # One worker beside one thread is a core beside a core; two threads are webdis at its best on this machine.
    for threads, peer in (("1 thread", f"{webdis}, 1 thread"), ("1 or 2 threads", webdis)):
        bars += [
            Bar(f"single GET, × webdis, {threads}", 1.1, 1.5, _against("singles", get, pagepool, peer)),
            Bar(f"single PUT, × webdis, {threads}", 0.85, 1.0, _against("singles", put, pagepool, peer)),
        ]
    bars += [
        Bar("single GET, × naive", 4, None, _against("singles", get, pagepool, naive)),
        Bar("single PUT, × naive", 4, None, _against("singles", put, pagepool, naive)),
        Bar("zero page GET, × a page's GET", 1, None, _within("singles", pagepool, singles.ZERO_GET, get)),
        Bar("zero page PUT, × a page's PUT", 1, None, _within("singles", pagepool, singles.ZERO_PUT, put)),
    ]
    for task, form, what, other, bar, aim in (
        (extents.PUT, extents.PLAIN, "extents PUT, pages/s × webdis", webdis, 1.8, 2.5),
        (extents.PUT, extents.PLAIN, "extents PUT, share of bare LZ4", extents.BARE, 0.55, 0.75),
        (extents.GET, extents.PLAIN, "extents GET, pages/s × webdis", webdis, 5, 8),
        (extents.GET, extents.PLAIN, "extents GET, share of bare LZ4", extents.BARE, 0.5, 0.7),
        (extents.PUT, extents.FRAMES_LZ4, "frames with LZ4 PUT, pages/s × webdis", webdis, 3, 5),
        (extents.GET, extents.FRAMES_LZ4, "frames with LZ4 GET, pages/s × webdis", webdis, 7, 10),
    ):
        bars.append(Bar(what, bar, aim, _against("extents", task, form, other)))
    for task in (snapshot.IN, snapshot.OUT):
        for peer in (snapshot.CLIENT, snapshot.COMMAND):
            figure = _against("snapshot", task, peer, snapshot.ZSTD)
            bars.append(Bar(f"{task}, {peer}, × nbdkit zstd", 1, None, figure))
    held = _against("snapshot", snapshot.HELD, snapshot.CLIENT, snapshot.SPARSE)
    bars.append(Bar("image held, × nbdkit sparse", 0.6, None, held, at_most=True))
    bars += [
        Bar(f"{task}, % of time", -80, None, _saved(task), at_most=True)
        for task in (engine.STORE_ZERO, engine.LOAD_ZERO)
    ]
    check = _percent(_against("engine", engine.CHECK_COST, engine.CHECK, engine.COMPRESSION))
    bars.append(Bar("the zero check, % of a compression", 1, None, check, at_most=True))
    for name in files():
        if name.startswith("snapshot"):
            figure = _against("memory", memory.task_of(name), memory.PAGEPOOL, memory.ZRAM)
            bars.append(Bar(f"Redis memory for {name}, × zram", 1.15, 1.0, figure, at_most=True))
    bars.append(Bar("a load among 10^6 pages, × 10^4", 1.1, None, _growth(growth.GET), at_most=True))
    beside = _against("latency", f"{latency.BESIDE}, p99", latency.STREAMED, latency.ALONE)
    bars.append(Bar("p99 of GETs beside a stream, × alone", 3, None, beside, at_most=True))
    return bars


def _within(section: str, peer: str, task: str, other_task: str) -> Figure:
    """One peer's task over another of its tasks."""

    def figure(sections: Sections) -> float | None:
        found = sections.get(section)
        return None if found is None else ratio(found.find(task, peer), found.find(other_task, peer))

    return figure


def outcomes(sections: Sections) -> list[Outcome]:
    """Each bar of the sections that were run, with what was measured."""
    return [Outcome(bar.text, bar.bar, bar.aim, bar.figure(sections), bar.at_most) for bar in all_bars()]
