"""Pages out of the pool into a file: loaded in frames, verified, written sparsely, several requests in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

from pagepool_client import calls
from pagepool_client.answers import Run
from pagepool_client.calls import Missing
from pagepool_client.errors import PageCorrupt, PageMissing, TypeUnknown
from pagepool_client.flights import in_order
from pagepool_client.frames import Extent, Frame, FrameKind, decode_answer, merge_extents
from pagepool_client.sinks import Sink, open_sink

if TYPE_CHECKING:
    from pagepool_client.client import Client

_NOT_FOUND = 404
_MISSING_LISTED = 1000
"""Runs of absent pages that an error lists; looking for more would only cost time."""
_MISSING_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    `zero`, `same`, `compressed` and `raw` count pages by the form in which they came (without LZ4 every page that is
    neither zero nor same-filled comes raw), `absent` those that were written as zeros because they are not held.
    """

    offset: int
    zero: int
    same: int
    compressed: int
    raw: int
    absent: int
    received_bytes: int
    seconds: float

    @property
    def pages(self) -> int:
        """Pages written, the absent ones included."""
        return self.zero + self.same + self.compressed + self.raw + self.absent


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the range: to be loaded, or known from the allocation map and given as a frame."""

    offset: int
    count: int
    known: FrameKind | None


def export_pages(
    client: Client,
    type_: int,
    file: BinaryIO | str | PathLike[str],
    offset: int | None,
    count: int | None,
    *,
    missing: Missing,
    lz4: bool,
    in_flight: int,
    progress: Callable[[int, int | None], None] | None,
) -> ExportSummary:
    """Write pages to a file; `Client.export_pages` says what the arguments are.

    Raises:
        PageMissing: pages of the range are absent, and `missing` does not allow that; nothing was written.
        PageCorrupt: pages of the range fail the service's check.
        TypeUnknown: the type holds no page, and no range was given.
        ValueError: the range has no page.
    """
    if count is not None and count < 1:
        raise ValueError(f"A range of {count} pages.")
    began = time.perf_counter()
    page_size = client.page_size
    offset, count, runs = _survey(client, type_, offset, count, missing)
    plan = list(_plan(runs, client.max_extent_pages))
    tally = dict.fromkeys(FrameKind, 0)
    received_bytes = done = 0
    with open_sink(file) as sink, in_order(_loads(client, type_, plan, lz4=lz4), in_flight) as answers:
        for part, answer in zip(plan, answers, strict=True):
            if answer is None:
                frames = [Frame(part.offset, part.count, part.known or FrameKind.ZERO)]
            else:
                received_bytes += len(answer)
                frames = decode_answer(answer, page_size, [(part.offset, part.count)])
                _refuse(type_, frames, missing)
            for frame in frames:
                tally[frame.kind] += frame.count
            _write(sink, frames, offset, page_size)
            done += part.count
            if progress is not None:
                progress(done, count)
        sink.finish(count * page_size)
    return ExportSummary(
        offset,
        zero=tally[FrameKind.ZERO],
        same=tally[FrameKind.SAME],
        compressed=tally[FrameKind.LZ4],
        raw=tally[FrameKind.DATA],
        absent=tally[FrameKind.ABSENT],
        received_bytes=received_bytes,
        seconds=time.perf_counter() - began,
    )


def _survey(
    client: Client, type_: int, offset: int | None, count: int | None, missing: Missing
) -> tuple[int, int, list[Run]]:
    """The range to export, as asked for or from the first page held to the last, and coarsely what is in it.

    The runs are adjacent and few: what is too short to be worth a request of its own is `data` with its neighbours.
    """
    length = client.max_extent_pages
    first = at = offset
    end = None if count is None else (offset or 0) + count
    runs: list[Run] = []
    absent: list[Extent] = []
    for run in client.allocation_runs(type_, offset or 0, count):
        if run.state == "hole":
            continue
        if first is None or at is None:
            first = at = run.offset
        if run.offset > at:
            absent.append((at, run.offset - at))
            _append(runs, Run(at, run.offset - at, "hole"), length)
            if missing == "error" and len(absent) == _MISSING_LISTED:
                break
        _append(runs, run, length)
        at = run.offset + run.count
    if first is None or at is None or (end is None and not runs):
        detail = f"Type {type_} holds no page there."
        raise TypeUnknown(_NOT_FOUND, {"code": "type_unknown", "title": "Type unknown", "detail": detail})
    if end is not None and at < end:
        absent.append((at, end - at))
        _append(runs, Run(at, end - at, "hole"), length)
        at = end
    if absent and missing == "error":
        raise _missing(type_, absent)
    return first, at - first, runs


def _append(runs: list[Run], run: Run, length: int) -> None:
    if runs:
        last = runs[-1]
        joined = last.count + run.count
        if last.state == run.state:
            runs[-1] = Run(last.offset, joined, run.state)
            return
        if not (_is_spared(last, length) or _is_spared(run, length)):
            runs[-1] = Run(last.offset, joined, "data")
            return
    runs.append(run)


def _is_spared(run: Run, length: int) -> bool:
    """Whether a run is not loaded: its pages are known, and leaving it out saves a request."""
    return run.state != "data" and run.count >= length


def _plan(runs: Iterable[Run], length: int) -> Iterator[_Part]:
    """Cut the range into extents of at most `length` pages, that end where the service's own runs of pages do."""
    for run in runs:
        if _is_spared(run, length):
            yield _Part(run.offset, run.count, FrameKind.ZERO if run.state == "zero" else FrameKind.ABSENT)
            continue
        at, end = run.offset, run.offset + run.count
        while at < end:
            cut = min(end, at - at % length + length)
            yield _Part(at, cut - at, None)
            at = cut


def _loads(client: Client, type_: int, plan: Iterable[_Part], *, lz4: bool) -> Iterator[Callable[[], bytes | None]]:
    """What loads each part; its answer is decoded by the thread that writes."""

    def load(part: _Part) -> bytes | None:
        if part.known is not None:
            return None
        return client.send(calls.fetch_frames(type_, part.offset, part.count, lz4=lz4))

    return (partial(load, part) for part in plan)


def _refuse(type_: int, frames: Iterable[Frame], missing: Missing) -> None:
    """Raise where a part's frames are not what may be written."""
    corrupt = merge_extents((frame.offset, frame.count) for frame in frames if frame.kind is FrameKind.CORRUPT)
    if corrupt:
        detail = f"Pages of type {type_} fail their check: {_listed(corrupt)}."
        raise PageCorrupt(500, {"code": "page_corrupt", "title": "Page corrupt", "detail": detail, "corrupt": corrupt})
    absent = merge_extents((frame.offset, frame.count) for frame in frames if frame.kind is FrameKind.ABSENT)
    if absent and missing == "error":
        raise _missing(type_, absent)


def _missing(type_: int, absent: list[Extent]) -> PageMissing:
    detail = f"Pages of type {type_} are absent: {_listed(absent)}."
    return PageMissing(
        _NOT_FOUND, {"code": "page_missing", "title": "Page missing", "detail": detail, "missing": absent}
    )


def _listed(extents: list[Extent]) -> str:
    """Runs as a person reads them: `3-5, 9`; the first of them, where there are many."""
    shown = ", ".join(f"{o}-{o + n - 1}" if n > 1 else str(o) for o, n in extents[:_MISSING_SHOWN])
    return shown if len(extents) <= _MISSING_SHOWN else f"{shown}, …"


def _write(sink: Sink, frames: Iterable[Frame], origin: int, page_size: int) -> None:
    """Write what is not zeros, neighbouring frames in one go."""
    buffers: list[bytes] = []
    start = end = origin
    for frame in frames:
        if not frame.buffers:
            continue
        if frame.offset != end and buffers:
            sink.write((start - origin) * page_size, buffers)
            buffers = []
        if not buffers:
            start = frame.offset
        buffers += frame.buffers
        end = frame.end
    if buffers:
        sink.write((start - origin) * page_size, buffers)
