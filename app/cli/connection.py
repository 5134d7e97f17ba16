"""Where the service is, for the commands that speak to one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from pagepool_client import Client

Command = TypeVar("Command", bound=Callable[..., None])

DEFAULT_URL = "http://127.0.0.1:8000"
_WHERE = ("HOST", "PORT", "UDS", "TLS_CERTIFICATE")
"""The settings that decide where a service listens."""

TYPE_NUMBER = click.IntRange(0, (1 << 31) - 1)
OFFSET = click.IntRange(0, (1 << 51) - 1)
"""The last one of the smallest pages; what is past the last one of larger pages, the service refuses."""

of_type = click.option("--type", "-t", "type_", type=TYPE_NUMBER, required=True, help="The type: an area of pages.")
"""The parameter `type_`."""

_url = click.option(
    "--url",
    envvar="PAGEPOOL_URL",
    show_envvar=True,
    help="The service: http://HOST:PORT, https://HOST:PORT or unix:/PATH. "
    "Otherwise where this environment's settings would make it listen.",
)
_token_file = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that holds the token; otherwise PAGEPOOL_TOKEN.",
)


def of_service(command: Command) -> Command:
    """The parameters `url` and `token_file`, as `open_client` takes them."""
    return _url(_token_file(command))


def open_client(url: str | None, token_file: Path | None, *, patient: bool = False) -> Client:
    """A client of the service.

    A `patient` one repeats what may be repeated; that there is a service at all is asked for once, so that a wrong
    address is told at once.
    """
    from pagepool_client import NO_RETRIES, Client, Retries  # noqa: PLC0415

    if token_file is None:
        token = os.environ.get("PAGEPOOL_TOKEN")
    else:
        token = token_file.read_text("ascii", errors="replace").strip()  # what is replaced, the client refuses
    where = url or _own_url()
    try:
        client = Client(where, token=token, retries=NO_RETRIES, timeout=30.0)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if patient:
        _ = client.layout
        client.retries = Retries()
    return client


def _own_url() -> str:
    """Where a service with these settings listens."""
    if not any(f"PAGEPOOL_{name}" in os.environ for name in _WHERE) and not Path(".env").exists():
        return DEFAULT_URL  # reading settings takes longer than most of what is asked for
    from app.settings import Settings  # noqa: PLC0415

    settings = Settings()
    if settings.uds is not None:
        return f"unix:{settings.uds.absolute()}"
    scheme = "http" if settings.tls_certificate is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
