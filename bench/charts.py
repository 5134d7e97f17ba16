"""Bar charts of a section as SVG, drawn by hand: a group for each task, a bar for each peer."""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path

from bench.measurement import Measurement, Section, ratio

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 920, 270, 16, 4, 26
_COLOURS = ("#3b6ea5", "#7ba7cc", "#c46a3d", "#dba37f", "#8a8a8a", "#5d8c5a", "#a9c4a4")
_STYLE = "font-family:system-ui,sans-serif;font-size:12px"


def draw(section: Section, file: Path) -> None:
    """Write the chart; bars of one task share a scale, since tasks have units of their own."""
    parts: list[str] = []
    y = 34
    colours: dict[str, str] = {}
    for task, group in groupby(section.measurements, key=lambda m: m.task):
        measured = list(group)
        longest = max(m.value for m in measured) or 1
        parts.append(f'<text x="12" y="{y + 14}" font-weight="600">{escape(task)} ({escape(measured[0].unit)})</text>')
        y += _HEAD - 4
        for one in measured:
            colour = colours.setdefault(one.peer, _COLOURS[len(colours) % len(_COLOURS)])
            length = max(1.0, one.value / longest * (_WIDTH - _LABEL - 190))
            parts.append(f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(one.peer)}</text>')
            parts.append(f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>')
            text = f"{readable(one.value)}{_relative(section, one)}"
            parts.append(f'<text x="{_LABEL + length + 6:.1f}" y="{y + 12}">{escape(text)}</text>')
            y += _BAR + _GAP
        y += 10
    title = f'<text x="12" y="22" font-size="15" font-weight="700">{escape(section.title)}</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 8}" style="{_STYLE}">'
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    file.write_text("\n".join([head, background, title, *parts, "</svg>"]) + "\n", encoding="utf-8")


def _relative(section: Section, one: Measurement) -> str:
    reference = section.best(one.task, section.reference)
    if reference is None or reference is one:
        return ""
    found = ratio(one, reference)
    return "" if found is None else f"  ({found:.2f} ×)"


def readable(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"
