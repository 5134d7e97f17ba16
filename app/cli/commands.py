"""The table of commands: each is imported when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import click

from app.cli import EXIT_INTERRUPTED

_COMMANDS: Final = {
    "serve": "serving:serve",
    "import": "transfer:import_file",
    "export": "transfer:export_file",
    "stats": "looking:stats",
    "top": "watching:top",
    "map": "page_map:draw_map",
    "shrink": "shrinking:shrink",
    "advise": "advising:advise",
    "audit": "upkeep:audit",
    "repair": "upkeep:repair",
    "scrub": "upkeep:scrub",
    "openapi": "serving:openapi",
    "token": "tokens:token",
}


class _Commands(click.Group):
    """A group whose commands wait in their modules."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)  # click's own status for it, 1, is that of a failure

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as above
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(f"app.cli.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def app() -> None:
    """A page cache as a service: zswap with a network in front."""
