"""The spread of stored page sizes as an SVG, drawn by hand: no library, no script, readable in light and dark."""

from __future__ import annotations

from html import escape

_BINS = 32
_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48
_AXIS_FRACTIONS = (0, 0.25, 0.5, 0.75, 1)


def draw(sizes: list[int], page_size: int, name: str) -> str:
    """A histogram of blob lengths, zero pages left out, as they have none."""
    counts = [0] * (_BINS + 1)
    for size in sizes:
        counts[min(_BINS, size * _BINS // page_size)] += 1
    tallest = max(counts) or 1
    step = (_WIDTH - 2 * _MARGIN) / len(counts)
    base = _HEIGHT - _MARGIN
    bars = []
    for index, count in enumerate(counts):
        height = (base - _MARGIN) * count / tallest
        bars.append(
            f'<rect x="{_MARGIN + index * step:.1f}" y="{base - height:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}"><title>{count} pages</title></rect>'
        )
    axis_end = _MARGIN + _BINS * step
    labels = [
        f'<text x="{_MARGIN + (axis_end - _MARGIN) * part:.0f}" y="{base + 18}" text-anchor="middle">'
        f"{round(page_size * part)}</text>"
        for part in _AXIS_FRACTIONS
    ]
    title = escape(f"{name}: bytes of {len(sizes)} stored pages under lz4")
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">
<style>text {{ font: 12px sans-serif; fill: #333 }} rect {{ fill: #3a944a }} line {{ stroke: #888 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>
<text x="{_MARGIN}" y="24">{title}</text>
<text x="{_MARGIN - 6}" y="{_MARGIN + 4}" text-anchor="end">{tallest}</text>
{"".join(bars)}
<line x1="{_MARGIN}" y1="{base}" x2="{_WIDTH - _MARGIN}" y2="{base}"/>
{"".join(labels)}
</svg>
"""
