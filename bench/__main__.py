"""Run the bench: see the package's docstring."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

import bench
from bench.context import Context
from bench.measurement import Section

SECTIONS = ("engine", "singles", "extents", "snapshot", "memory", "growth", "latency", "disk", "eviction")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=bench.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="sections to run, comma-separated", default=",".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="short rounds, small pools: under 3 minutes in all")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    # SIGTERM takes the way of every exception, so that the servers are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return measure(chosen, is_quick=options.quick)


def measure(chosen: Sequence[str], *, is_quick: bool) -> int:
    """Run the sections, print as they end, and keep everything; 1 if a section failed as a whole."""
    from bench import machine, report  # noqa: PLC0415  # --help needs no peer
    from bench.bars import outcomes  # noqa: PLC0415

    console = Console(record=True, width=None if sys.stdout.isatty() else 120)
    described = machine.describe()
    report.print_machine(console, described)
    if machine.is_busy():
        console.print("Something else is at work on this machine: trust the CPU rows more than the rates.\n")
    sections: list[Section] = []
    failed: list[str] = []
    for name in SECTIONS:
        if name not in chosen:
            continue
        started = time.monotonic()
        module: ModuleType = importlib.import_module(f"bench.{name}")
        with tempfile.TemporaryDirectory(prefix="ppb-") as home:
            try:
                section: Section = module.run(Context(Path(home), is_quick))
            except Exception as error:  # noqa: BLE001  # the other sections are still worth having
                failed.append(name)
                section = Section(name, name, notes=[f"the section failed: {error!r}"])
        sections.append(section)
        report.print_section(console, section)
        console.print(f"  ({name}: {time.monotonic() - started:.0f} s)\n", markup=False, highlight=False)
    whole = len(sections) == len(SECTIONS)
    by_name = {section.name: section for section in sections}
    found = [one for one in outcomes(by_name) if whole or one.is_met is not None]
    report.print_bars(console, found)
    report.keep(described, sections, found, is_quick=is_quick, text=console.export_text())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
