"""`pagepool audit`, `repair` and `scrub`: they speak to Redis, not to the service, with the service's own settings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli import EXIT_FAILED, EXIT_UNUSABLE

if TYPE_CHECKING:
    from app.store.redis import RedisStore

T = TypeVar("T")


@click.command
@click.option("--repair", is_flag=True, help="Set counters that are wrong to what was counted.")
def audit(*, repair: bool) -> None:
    """Recount the pool, and compare with its counters.

    From Redis itself; exit status 1 where they differ.
    """
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from app.pool.audit import audit as recount  # noqa: PLC0415

    report = _beside_the_service(partial(recount, repair=repair))
    console = Console()
    counted = f"{report.pages:,} pages in {report.chunks:,} chunks were counted"
    if not report.differences:
        console.print(f"{counted}: every counter agrees.")
        return
    table = Table("scope", "counter", title="Counters that differ")
    table.add_column("counted", justify="right")
    table.add_column("recorded", justify="right")
    for difference in report.differences:
        table.add_row(difference.scope, difference.counter, _number(difference.counted), _number(difference.recorded))
    console.print(table)
    if report.repaired:
        console.print(f"{counted}: {len(report.differences)} counters were wrong and have been mended.")
        return
    console.print(f"{counted}: {len(report.differences)} counters are wrong; --repair mends them.")
    sys.exit(EXIT_FAILED)


@click.command
@click.option("--accept-loss", is_flag=True, help="Take the pages that the backend lost for gone, and go on.")
def repair(*, accept_loss: bool) -> None:
    """Let images be read again after the backend lost pages.

    The lost ones read as zeros from then on.
    """
    if not accept_loss:
        click.echo("pagepool: nothing is repaired without --accept-loss.", err=True)
        sys.exit(EXIT_UNUSABLE)
    stripes = _beside_the_service(lambda store: store.record.accept_loss())
    click.echo(f"{stripes} stripes had lost their pages: accepted." if stripes else "Nothing was lost.")


@click.command
@click.option("--rate", type=click.IntRange(min=1), default=10_000, help="Pages a second at most.")
def scrub(rate: int) -> None:
    """Load and check every page.

    At a bounded rate; exit status 1 where one is corrupt.
    """
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from app.pool.scrub import scrub as check  # noqa: PLC0415

    report = _beside_the_service(partial(check, pages_per_second=rate))
    console = Console()
    if not report.corrupt:
        console.print(f"{report.pages:,} pages were checked: none is corrupt.")
        return
    table = Table("type", "offset", "reason", title="Corrupt pages")
    for page in report.corrupt:
        table.add_row(str(page.type), str(page.offset), page.reason)
    console.print(table)
    console.print(f"{report.pages:,} pages were checked: {len(report.corrupt)} are corrupt.")
    sys.exit(EXIT_FAILED)


def _beside_the_service(work: Callable[[RedisStore], Awaitable[T]]) -> T:
    """Do it to the pool that the settings name, whose service may be running.

    The log lines of a service do not belong here: what matters is raised.

    Raises:
        StartupRefused: there is no such pool in reach.
        BackendUnavailable: Redis went away.
    """
    import asyncio  # noqa: PLC0415

    from app.settings import Settings  # noqa: PLC0415
    from app.wiring import open_store  # noqa: PLC0415

    async def open_and_work() -> T:
        async with open_store(Settings()) as store:
            return await work(store)

    logging.disable()
    return asyncio.run(open_and_work())


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
