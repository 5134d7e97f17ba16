"""`pagepool shrink`: free bytes of a pool or a type."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.cli import EXIT_FAILED
from app.cli.connection import TYPE_NUMBER, of_service, open_client
from app.cli.wording import readable_bytes


@click.command
@click.argument("bytes_", metavar="BYTES", type=click.IntRange(min=1))
@click.option("--type", "-t", "type_", type=TYPE_NUMBER, help="Of this type alone.")
@of_service
def shrink(bytes_: int, type_: int | None, url: str | None, token_file: Path | None) -> None:
    """Free BYTES of blobs.

    Expired and cold pages go, of types that allow it; exit status 1 where less was freed than asked for.
    """
    with open_client(url, token_file) as client:
        done = client.shrink(bytes_, type_)
    freed = readable_bytes(done["freed_bytes"])
    click.echo(f"{freed} freed: {done['evicted_pages']:,} pages evicted, {done['expired_pages']:,} expired.")
    if done["freed_bytes"] < bytes_:
        sys.exit(EXIT_FAILED)
