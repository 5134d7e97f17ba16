"""`pagepool token new`: a token, and the entry for the tokens file that lets it in."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from enum import StrEnum

import click

_RANGES = re.compile(r"(0|[1-9]\d*)(-(0|[1-9]\d*))?(,(0|[1-9]\d*)(-(0|[1-9]\d*))?)*", re.ASCII)
_TOKEN_BYTES = 32


class Role(StrEnum):
    """What a token may do; each role includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@click.group()
def token() -> None:
    """Tokens for PAGEPOOL_TOKENS_FILE."""


@token.command
@click.option("--name", required=True, help="Who will have it; logs name it so.")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--types", help="Only these types: 1,5,10-19.")
def new(name: str, role: str, types: str | None) -> None:
    """Make a token. It is shown once; the tokens file holds only its SHA-256."""
    if types is not None and not (_RANGES.fullmatch(types) and all(map(_ascends, types.split(",")))):
        raise click.BadParameter("Types are numbers and ranges, such as 1,5,10-19.", param_hint="--types")
    secret = secrets.token_urlsafe(_TOKEN_BYTES)
    click.echo(f"# The token, shown once:\n# {secret}\n#\n# For PAGEPOOL_TOKENS_FILE:")
    click.echo(entry(name, Role(role), types, secret), nl=False)


def _ascends(part: str) -> bool:
    first, _, last = part.partition("-")
    return int(first) <= int(last or first)


def entry(name: str, role: Role, types: str | None, secret: str) -> str:
    """The TOML that lets a token in."""
    lines = [
        "[[tokens]]",
        f"name = {json.dumps(name)}",  # a JSON string is a TOML string
        f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"',
        f'role = "{role.value}"',
    ]
    if types is not None:
        parts = [part if part.isdecimal() else f'"{part}"' for part in types.split(",")]
        lines.append(f"types = [{', '.join(parts)}]")
    return "\n".join(lines) + "\n"
