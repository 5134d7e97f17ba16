"""The table of commands."""

from __future__ import annotations

import typer

from app.cli import advising, looking, page_map, serving, shrinking, tokens, transfer, upkeep, watching

app = typer.Typer(
    help="A page cache as a service: zswap with a network in front.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("serve")(serving.serve)
app.command("import")(transfer.import_file)
app.command("export")(transfer.export_file)
app.command("stats")(looking.stats)
app.command("top")(watching.top)
app.command("map")(page_map.draw_map)
app.command("shrink")(shrinking.shrink)
app.command("advise")(advising.advise)
app.command("audit")(upkeep.audit)
app.command("repair")(upkeep.repair)
app.command("scrub")(upkeep.scrub)
app.command("openapi")(serving.openapi)
app.add_typer(tokens.app, name="token")
