"""`pagepool stats`: the pool and its types in human terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.connection import of_service, open_client
from app.cli.wording import ratio, readable_bytes, shares

if TYPE_CHECKING:
    from rich.table import Table


@click.command
@click.option("--json", "as_json", is_flag=True, help="The pool and its types as one object.")
@of_service
def stats(url: str | None, token_file: Path | None, *, as_json: bool) -> None:
    """Show what the pool holds, what that costs, and how full it is."""
    with open_client(url, token_file) as client:
        pool, types = client.pool(), list(client.types())
    if as_json:
        print(json.dumps({"pool": pool, "types": types}, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    console.print(pool_table(pool))
    if types:
        console.print(types_table(types))


def pool_table(pool: dict[str, Any]) -> Table:
    """The pool, a fact a line."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    stored = pool["stored_pages"]
    kinds = {
        "zero": pool["zero_pages"],
        "same-filled": pool["same_filled_pages"],
        "compressed": pool["compressed_pages"],
        "incompressible": pool["incompressible_pages"],
    }
    state = pool["state"] if pool["state"] == "open" else "[red]closed[/red]: only zero pages are stored"
    rows = {
        "state": state,
        "held": f"{stored:,} pages, {readable_bytes(pool['logical_bytes'])} in {readable_bytes(pool['pool_bytes'])}",
        "kinds": shares(kinds),
        "ratio": f"{ratio(pool['compression_ratio'])}, {pool['saved_mib']:,.1f} MiB saved",
        "limit": _limit(pool),
        "hit rate": "no loads yet" if pool["hit_rate"] is None else f"{100 * pool['hit_rate']:.1f} % of pages loaded",
        "Redis": f"{readable_bytes(pool['redis_used_memory_bytes'])} used",
        "pages": f"of {pool['page_size']} bytes, up to {pool['max_extent_pages']} in one extent",
    }
    for name, fact in rows.items():
        table.add_row(name, fact)
    return table


def types_table(types: list[dict[str, Any]]) -> Table:
    """A type a row."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("type", "pages", "zero", "same", "compressed", "raw", "in the pool", "ratio", "image"):
        table.add_column(name, justify="right")
    for numbers in types:
        image = numbers["configuration"].get("image_bytes")
        table.add_row(
            str(numbers["type"]),
            f"{numbers['stored_pages']:,}",
            f"{numbers['zero_pages']:,}",
            f"{numbers['same_filled_pages']:,}",
            f"{numbers['compressed_pages']:,}",
            f"{numbers['incompressible_pages']:,}",
            readable_bytes(numbers["pool_bytes"]),
            ratio(numbers["compression_ratio"]),
            "" if image is None else readable_bytes(image),
        )
    return table


def _limit(pool: dict[str, Any]) -> str:
    if not pool["limit_bytes"]:
        return "none"
    return f"{readable_bytes(pool['limit_bytes'])}, {pool['limit_used_percent']:.1f} % of it used"
