"""`pagepool serve` and `pagepool openapi`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.cli import EXIT_FAILED


def serve(
    host: Annotated[str | None, typer.Option(help="As PAGEPOOL_HOST.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="As PAGEPOOL_PORT.", show_default=False)] = None,
    uds: Annotated[Path | None, typer.Option(help="As PAGEPOOL_UDS.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="As PAGEPOOL_WORKERS.", show_default=False)] = None,
) -> None:
    """Run the service in the foreground, on a Redis of its own unless PAGEPOOL_REDIS_URL names one."""
    # Workers read the same environment.
    for name, value in {"HOST": host, "PORT": port, "UDS": uds, "WORKERS": workers}.items():
        if value is not None:
            os.environ[f"PAGEPOOL_{name}"] = str(value)

    from app.settings import Settings  # noqa: PLC0415

    settings = Settings()

    from app.serve.supervisor import run  # noqa: PLC0415

    raise typer.Exit(run(settings))


def openapi(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it; - is standard output.")] = Path(
        "openapi/openapi.json"
    ),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is not up to date.")] = False,
) -> None:
    """Write the API's description (OpenAPI 3.1) as the code has it; needs no Redis."""
    from app.api.openapi import render  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.settings import Settings  # noqa: PLC0415

    text = render(create_app(Settings.model_construct()))
    if str(output) == "-":
        typer.echo(text, nl=False)
    elif check:
        if not output.exists() or output.read_text(encoding="utf-8") != text:
            typer.echo(f"pagepool: {output} is not what the code generates: run `pagepool openapi`.", err=True)
            raise typer.Exit(EXIT_FAILED)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
