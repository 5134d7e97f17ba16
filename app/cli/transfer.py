"""`pagepool import` and `pagepool export`: whole files, over HTTP, against a running service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import click

from app.cli.connection import OFFSET, of_service, of_type, open_client
from app.cli.standard import ended_in_order, standard_input, standard_output
from app.cli.wording import readable_bytes, shares

if TYPE_CHECKING:
    from pagepool_client import ExportSummary, ImportSummary

Progress = Callable[[int, int | None], None]

_STANDARD_OUTPUT = {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}

_source = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
_target = click.argument("file", type=click.Path(path_type=Path, allow_dash=True, readable=False))
_in_flight = click.option("--in-flight", type=click.IntRange(1, 64), default=3, help="Requests in flight.")
_lz4 = click.option("--lz4/--no-lz4", default=True, help="Compress on this side of the wire.")
_quiet = click.option("--quiet", "-q", is_flag=True, help="No progress, no summary.")


@click.command
@_source
@of_type
@click.option("--offset", type=OFFSET, default=0, help="Where its first page goes.")
@click.option("--pad", is_flag=True, help="Fill up a last page that is not whole, with zeros.")
@_lz4
@_in_flight
@_quiet
@of_service
def import_file(
    file: Path,
    type_: int,
    offset: int,
    in_flight: int,
    url: str | None,
    token_file: Path | None,
    *,
    pad: bool,
    lz4: bool,
    quiet: bool,
) -> None:
    """Store the pages of FILE, or of standard input (-).

    Holes of a sparse file are not read, runs of zeros cost next to nothing.
    """
    source: Any = nullcontext(standard_input()) if str(file) == "-" else file.open("rb", buffering=0)
    with source as opened, open_client(url, token_file, patient=True) as client:
        with ended_in_order(), _progress(f"import {file.name}", quiet=quiet) as progress:
            summary = client.import_pages(
                opened, type_, offset, pad=pad, lz4=lz4, in_flight=in_flight, progress=progress
            )
        if not quiet:
            for line in import_lines(summary, client.page_size, client.type(type_) if summary.pages else None, type_):
                print(line)


@click.command
@_target
@of_type
@click.option("--offset", type=OFFSET, help="First page; otherwise the first one held.")
@click.option("--count", type=click.IntRange(min=1), help="Pages; otherwise up to the last one held.")
@click.option("--missing", type=click.Choice(["error", "zero"]), default="error", help="What an absent page is.")
@_lz4
@_in_flight
@_quiet
@of_service
def export_file(
    file: Path,
    type_: int,
    offset: int | None,
    count: int | None,
    missing: Literal["error", "zero"],
    in_flight: int,
    url: str | None,
    token_file: Path | None,
    *,
    lz4: bool,
    quiet: bool,
) -> None:
    """Write the pages of a type to FILE, or to standard output (-).

    Sparsely; FILE is replaced only once all is written.
    """
    is_stdout = str(file) in _STANDARD_OUTPUT
    target: BinaryIO | Path = standard_output() if is_stdout else file
    with open_client(url, token_file, patient=True) as client:
        with ended_in_order(), _progress(f"export {file.name}", quiet=quiet) as progress:
            summary = client.export_pages(
                type_, target, offset, count, missing=missing, lz4=lz4, in_flight=in_flight, progress=progress
            )
        if not quiet:
            for line in export_lines(summary, client.page_size, type_):
                print(line, file=sys.stderr if is_stdout else sys.stdout)


def import_lines(summary: ImportSummary, page_size: int, held: dict[str, Any] | None, type_: int) -> list[str]:
    """What an import did, in human terms; `held` are the type's numbers after it."""
    counts = summary.counts
    kinds = {
        "zero": counts.zero,
        "same-filled": counts.same,
        "compressed": counts.compressed,
        "incompressible": counts.raw,
    }
    lines = [
        f"{_amount(summary.pages, page_size)} into type {type_} at offset {summary.offset}, {_rate(summary)}",
        shares(kinds),
    ]
    if held is not None:
        ratio = held["compression_ratio"]
        lines.append(
            f"{readable_bytes(summary.sent_bytes)} sent; the type now holds {readable_bytes(held['logical_bytes'])} "
            f"in {readable_bytes(held['pool_bytes'])}" + (f", ratio {ratio:.2f}" if ratio else "")
        )
    return lines


def export_lines(summary: ExportSummary, page_size: int, type_: int) -> list[str]:
    """What an export did, in human terms."""
    size = summary.pages * page_size
    kinds = {"zero": summary.zero, "same-filled": summary.same, "compressed": summary.compressed, "plain": summary.raw}
    if summary.absent:
        kinds["absent"] = summary.absent
    lines = [
        f"{_amount(summary.pages, page_size)} from type {type_} at offset {summary.offset}, {_rate(summary)}",
        shares(kinds),
    ]
    if summary.received_bytes:
        lines.append(f"{readable_bytes(summary.received_bytes)} received, ratio {size / summary.received_bytes:.2f}")
    return lines


def _amount(pages: int, page_size: int) -> str:
    return f"{pages:,} pages ({readable_bytes(pages * page_size)})"


def _rate(summary: ImportSummary | ExportSummary) -> str:
    return f"{summary.seconds:.2f} s, {summary.pages / max(summary.seconds, 1e-9):,.0f} pages/s"


@contextmanager
def _progress(label: str, *, quiet: bool) -> Iterator[Progress | None]:
    """A bar on a terminal, else nothing."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} pages"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, rate="")

        def report(done: int, total: int | None) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} pages/s" if speed else "")

        yield report
