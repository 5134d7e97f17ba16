"""`pagepool shrink`: free bytes of a pool or a type."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import EXIT_FAILED
from app.cli.connection import TokenFile, Url, open_client
from app.cli.wording import readable_bytes


def shrink(
    bytes_: Annotated[int, typer.Argument(metavar="BYTES", min=1, help="Bytes of blobs to free.")],
    type_: Annotated[
        int | None, typer.Option("--type", "-t", min=0, max=(1 << 31) - 1, help="Of this type alone.")
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Take expired and cold pages of types that allow it; exit status 1 where less was freed than asked for."""
    with open_client(url, token_file) as client:
        done = client.shrink(bytes_, type_)
    freed = readable_bytes(done["freed_bytes"])
    typer.echo(f"{freed} freed: {done['evicted_pages']:,} pages evicted, {done['expired_pages']:,} expired.")
    if done["freed_bytes"] < bytes_:
        raise typer.Exit(EXIT_FAILED)
