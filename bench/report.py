"""Tables for the reader, JSON and SVG for keeping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import charts
from bench.bars import Outcome
from bench.charts import readable
from bench.measurement import Section, ratio

RESULTS = Path(__file__).with_name("results")


def print_machine(console: Console, machine: Mapping[str, str]) -> None:
    """What it was measured on."""
    table = Table(title="Machine and versions", show_header=False, title_justify="left")
    for name, value in machine.items():
        table.add_row(name, value)
    console.print(table)


def print_section(console: Console, section: Section) -> None:
    """One section's figures, ratios first."""
    if section.measurements:
        console.print(_table(section))
    for note in section.notes:
        console.print(f"  note: {note}", markup=False, highlight=False)


def _table(section: Section) -> Table:
    table = Table(title=f"{section.title}; ratios to {section.reference}", title_justify="left")
    table.add_column("task")
    table.add_column("peer")
    table.add_column("ratio", justify="right")
    for name in ("median", "lowest", "highest"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    last = ""
    for one in section.measurements:
        if one.task != last and last:
            table.add_section()
        reference = section.best(one.task, section.reference)
        found = ratio(one, reference)
        relative = "–" if found is None else "1" if one is reference else f"{found:.2f}"
        figures = (readable(value) for value in (one.value, min(one.rounds), max(one.rounds)))
        table.add_row(one.task if one.task != last else "", one.peer, relative, *figures, one.unit)
        last = one.task
    return table


def print_bars(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The bars, met or missed."""
    table = Table(title="Bars", title_justify="left")
    table.add_column("what")
    for name in ("bar", "aim", "measured"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in outcomes:
        sign = "≤" if one.at_most else "≥"
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "[dim]not measured[/]"}[one.is_met]
        aim = "" if one.aim is None else f"{sign} {one.aim:g}"
        measured = "–" if one.measured is None else f"{one.measured:.2f}"
        table.add_row(one.text, f"{sign} {one.bar:g}", aim, measured, verdict)
    console.print(table)


def keep(
    machine: Mapping[str, str], sections: Sequence[Section], outcomes: Sequence[Outcome], *, is_quick: bool, text: str
) -> None:
    """Write results.json, results.txt and an SVG a section to bench/results."""
    RESULTS.mkdir(exist_ok=True)
    whole = {
        "machine": dict(machine),
        "quick": is_quick,
        "bars": [{**asdict(one), "met": one.is_met} for one in outcomes],
        "sections": [section.as_json() for section in sections],
    }
    (RESULTS / "results.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
    (RESULTS / "results.txt").write_text(text, encoding="utf-8")
    for section in sections:
        charts.draw(section, RESULTS / f"{section.name}.svg")
