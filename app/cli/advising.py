"""`pagepool advise`: what a file of pages would cost, without storing it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli import EXIT_FAILED
from app.cli.wording import readable_bytes, shares

if TYPE_CHECKING:
    from rich.table import Table

    from app.cli.costs import Survey


@click.command
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--page-size", type=click.IntRange(4096, 65536), default=4096, help="Bytes in a page.")
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=16384,
    help="Pages to try, spread evenly over the file; 0: all of them.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Write the spread of compressed sizes as SVG.")
def advise(file: Path, page_size: int, sample: int, plot: Path | None) -> None:
    """Say what the pages of FILE would cost here.

    Kinds, ratio and speed of each compressor, and the limit that would hold it.
    """
    from rich.console import Console  # noqa: PLC0415

    from app.cli.costs import survey  # noqa: PLC0415

    if page_size & (page_size - 1):
        raise click.BadParameter("must be a power of two", param_hint="--page-size")
    found = survey(file, page_size, sample)
    if not found.pages:
        click.echo(f"pagepool: {file} does not hold a whole page of {page_size} bytes.", err=True)
        sys.exit(EXIT_FAILED)
    console = Console()
    console.print(_heading(found))
    console.print(_kinds(found))
    console.print(_compressors(found))
    for line in _advice(found):
        console.print(line)
    if plot is not None:
        from app.cli.size_plot import draw  # noqa: PLC0415

        plot.write_text(draw(found.sizes, page_size, file.name), encoding="utf-8")
        console.print(f"The spread of sizes under lz4 is drawn in {plot}.")


def _heading(found: Survey) -> str:
    tried = "" if found.tried == found.pages else f", {found.tried:,} of them tried"
    return f"{found.pages:,} pages of {found.page_size} bytes, {readable_bytes(found.logical_bytes)}{tried}"


def _kinds(found: Survey) -> str:
    others = found.tried - found.zero - found.same
    return shares({"zero": found.zero, "same-filled": found.same, "other": others})


def _compressors(found: Survey) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("compressor")
    for name in ("in the pool", "ratio", "incompressible", "store µs/page", "load µs/page"):
        table.add_column(name, justify="right")
    for cost in found.costs:
        table.add_row(
            cost.name,
            readable_bytes(found.scaled(cost.pool_bytes)),
            f"{found.logical_bytes / max(1, found.scaled(cost.pool_bytes)):.2f}",
            f"{found.scaled(cost.raw):,}",
            f"{cost.store_seconds * 1e6 / found.tried:.1f}",
            f"{cost.load_seconds * 1e6 / found.tried:.1f}",
        )
    return table


def _advice(found: Survey) -> list[str]:
    from app.cli.costs import recommended_limit  # noqa: PLC0415

    default = found.costs[0]
    limit = recommended_limit(found.scaled(default.pool_bytes))
    redis_bytes = limit * 14 // 10 + (64 << 20)
    lines = [
        f"To hold all of it under lz4: PAGEPOOL_MAX_POOL_BYTES={limit} ({readable_bytes(limit)}).",
        f"A Redis of its own for it should have a maxmemory of {readable_bytes(redis_bytes)} at least.",
    ]
    best = min((cost for cost in found.costs if cost.setting is not None), key=lambda cost: cost.pool_bytes)
    gain = 1 - best.pool_bytes / default.pool_bytes if default.pool_bytes else 0.0
    if best.setting != "lz4" and gain > 0.05:  # noqa: PLR2004 - below that nobody would notice
        lines.append(
            f"PAGEPOOL_COMPRESSOR={best.setting} would save a further {100 * gain:.0f} % of the pool's bytes "
            f"({best.name}), at {best.store_seconds / max(default.store_seconds, 1e-9):.1f} times the work for a store."
        )
    return lines
