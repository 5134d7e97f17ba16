"""`pagepool serve` and `pagepool openapi`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from app.cli import EXIT_FAILED


@click.command
@click.option("--host", help="As PAGEPOOL_HOST.")
@click.option("--port", type=int, help="As PAGEPOOL_PORT.")
@click.option("--uds", type=click.Path(path_type=Path), help="As PAGEPOOL_UDS.")
@click.option("--workers", type=int, help="As PAGEPOOL_WORKERS.")
def serve(host: str | None, port: int | None, uds: Path | None, workers: int | None) -> None:
    """Run the service in the foreground.

    On a Redis of its own, unless PAGEPOOL_REDIS_URL names one.
    """
    # Workers read the same environment.
    for name, value in {"HOST": host, "PORT": port, "UDS": uds, "WORKERS": workers}.items():
        if value is not None:
            os.environ[f"PAGEPOOL_{name}"] = str(value)

    from app.settings import Settings  # noqa: PLC0415

    settings = Settings()

    from app.serve.supervisor import run  # noqa: PLC0415

    sys.exit(run(settings))


@click.command
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, allow_dash=True),
    default=Path("openapi/openapi.json"),
    help="Where to write it; - is standard output.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail if the file is not up to date.")
def openapi(output: Path, *, check: bool) -> None:
    """Write the API's description (OpenAPI 3.1).

    As the code has it; needs no Redis.
    """
    from app.api.openapi import render  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.settings import Settings  # noqa: PLC0415

    if check and str(output) == "-":
        raise click.UsageError("--check compares a file; standard output is none.")
    text = render(create_app(Settings.model_construct()))
    if str(output) == "-":
        click.echo(text, nl=False)
    elif check:
        if not output.exists() or output.read_text(encoding="utf-8") != text:
            click.echo(f"pagepool: {output} is not what the code generates: run `pagepool openapi`.", err=True)
            sys.exit(EXIT_FAILED)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
