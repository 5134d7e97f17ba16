"""`pagepool top`: the pool, live."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.connection import of_service, open_client
from app.cli.standard import ended_in_order

if TYPE_CHECKING:
    from pagepool_client import Client
    from rich.console import Console

    from app.cli.samples import Sample
    from app.cli.top_view import View

_MAX_TYPES = 200


def _finite(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Refuse what FloatRange lets through: NaN is in no range, nor out of any."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number of seconds.")
    return value


@click.command
@click.option(
    "--interval", type=click.FloatRange(min=0.2), default=1.0, callback=_finite, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Look twice, print once, and end.")
@of_service
def top(interval: float, url: str | None, token_file: Path | None, *, once: bool) -> None:
    """Watch the pool, live.

    What it holds, what comes and goes, how fast it answers. q or Ctrl-C ends it.
    """
    from rich.console import Console  # noqa: PLC0415

    from app.cli.samples import Window  # noqa: PLC0415
    from app.cli.top_view import View  # noqa: PLC0415

    console = Console()
    with open_client(url, token_file) as client:
        first = look(client)
        view = View(str(client.address), Window(first, first))
        if once or not console.is_terminal:
            time.sleep(interval)
            view.advance(look(client))
            console.print(view, height=None)
            return
        with ended_in_order(), _keys() as key_within:
            _watch(client, console, view, lambda: key_within(interval))


def look(client: Client) -> Sample:
    """Ask the service for everything that is shown."""
    from app.cli.samples import Sample, parse_metrics  # noqa: PLC0415

    pool, types = client.pool(), list(islice(client.types(), _MAX_TYPES))
    return Sample(time.monotonic(), pool, types, parse_metrics(client.metrics()))


def _watch(client: Client, console: Console, view: View, next_key: Callable[[], str | None]) -> None:
    from pagepool_client import PagepoolError  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    with Live(view, console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        try:
            while next_key() not in {"q", "Q"}:
                try:
                    view.advance(look(client))
                except PagepoolError as error:
                    view.trouble = str(error).partition("(")[0].strip()
                live.refresh()
        except KeyboardInterrupt:
            return


@contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """Single keys as they are pressed: a function that waits for one, so many seconds at most."""
    import select  # noqa: PLC0415
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    if not sys.stdin.isatty():
        yield lambda seconds: time.sleep(seconds)  # noqa: PLW0108
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def key_within(seconds: float) -> str | None:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return sys.stdin.read(1) if ready else None

    try:
        tty.setcbreak(descriptor)
        yield key_within
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
