"""A simulation: how evenly the stripes of a pool spread its pages over the nodes of a cluster.

    python -m bench.stripes [FILE.svg]

A node's load is the runs (4096 pages, 16 MiB of 4 KiB pages) that lie in the slots that it serves, 16384 / nodes each.
What is told is the busiest node's load over the mean: 1 is even, 1.5 says that the pool is full, or the cluster
saturated, when a third of it is still idle. Keys and hash tags are the service's own (app/store/keys.py).

Left: one dense area of 1 TiB, by the number of stripes. Right: other areas, with the stripes that a cluster's pool has.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import pairwise
from pathlib import Path

from app.store.keys import CLUSTER_SLOTS, RUN_SHIFT, STRIPES_CLUSTER, KeySchema, slot_of, stripe_tags

NODES = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
TEBIBYTE_RUNS = 1 << 16
"""Runs in 1 TiB of 4 KiB pages."""

Run = tuple[int, int]
"""Type, and number of the run in it."""
Spread = dict[int, float]
"""By nodes: the busiest one's load over the mean."""


def dense() -> Iterator[Run]:
    """One area of 1 TiB."""
    return ((1, run) for run in range(TEBIBYTE_RUNS))


def machines() -> Iterator[Run]:
    """16 384 areas of 64 MiB, types in sequence: the memory of small virtual machines."""
    return ((type_, run) for type_ in range(TEBIBYTE_RUNS // 4) for run in range(4))


def aligned() -> Iterator[Run]:
    """65 536 areas of one run, each type a multiple of 1024: a number of another system, shifted."""
    return ((type_ << 10, 0) for type_ in range(TEBIBYTE_RUNS))


def chosen() -> Iterator[Run]:
    """65 536 areas of one run, types drawn at random."""
    chance = random.Random(1)
    return ((chance.randrange(1 << 31), 0) for _ in range(TEBIBYTE_RUNS))


def strided() -> Iterator[Run]:
    """One area that holds every eighth run: a sparse image written at a regular distance."""
    return ((1, run * 8) for run in range(TEBIBYTE_RUNS // 8))


def skewed() -> Iterator[Run]:
    """Loads of one dense area by Zipf's law over its runs, the hottest with 1 in 12: what no placement can mend."""
    chance = random.Random(2)
    runs = range(TEBIBYTE_RUNS)
    return ((1, run) for run in chance.choices(runs, [1 / (rank + 1) for rank in runs], k=TEBIBYTE_RUNS))


def spread(runs: Iterable[Run], slots: list[int]) -> Spread:
    """How the runs lie on clusters of several sizes, their stripes in these slots."""
    keys = KeySchema("pagepool", len(slots))
    loads = Counter(slots[keys.stripe_of(type_, run << RUN_SHIFT)] for type_, run in runs)
    total = sum(loads.values())
    found = {}
    for nodes in NODES:
        by_node: Counter[int] = Counter()
        for slot, load in loads.items():
            by_node[slot * nodes // CLUSTER_SLOTS] += load
        found[nodes] = max(by_node.values()) * nodes / total
    return found


def even_slots(stripes: int) -> list[int]:
    """The slots of the pool's own hash tags."""
    return [slot_of(tag) for tag in stripe_tags(stripes)]


def numbered_slots(stripes: int) -> list[int]:
    """The slots of hash tags that are merely the stripes' numbers."""
    return [slot_of(b"%d" % stripe) for stripe in range(stripes)]


def by_stripes() -> dict[str, Spread]:
    """One dense area, with more and fewer stripes, and with hash tags that are not chosen."""
    found = {f"{stripes} stripes": spread(dense(), even_slots(stripes)) for stripes in (16, 256, 1024, 4096)}
    found["1024, tags by number"] = spread(dense(), numbered_slots(1024))
    return found


def by_area() -> dict[str, Spread]:
    """Areas of other shapes, on the stripes of a cluster's pool."""
    areas: dict[str, Callable[[], Iterator[Run]]] = {
        "dense 1 TiB": dense,
        "16 384 areas of 64 MiB": machines,
        "types × 1024, one run each": aligned,
        "random types, one run each": chosen,
        "every eighth run": strided,
        "loads by Zipf's law": skewed,
    }
    slots = even_slots(STRIPES_CLUSTER)
    return {name: spread(area(), slots) for name, area in areas.items()}


_COLOURS = ("#8a8a8a", "#7ba7cc", "#3b6ea5", "#c46a3d", "#5d8c5a", "#dba37f")
_PANEL, _HIGH, _LEFT, _TOP, _TOPMOST = 430, 300, 46, 46, 3.0


def _panel(left: int, title: str, lines: dict[str, Spread]) -> list[str]:
    def x(nodes: int) -> float:
        return left + _LEFT + NODES.index(nodes) * (_PANEL - _LEFT - 20) / (len(NODES) - 1)

    def y(value: float) -> float:
        return _TOP + _HIGH * (1 - (min(value, _TOPMOST) - 1) / (_TOPMOST - 1))

    parts = [f'<text x="{left + _LEFT}" y="30" font-weight="600">{escape(title)}</text>']
    for value in (1.0, 1.5, 2.0, 2.5, 3.0):
        parts.append(f'<path d="M{x(NODES[0])} {y(value)}H{x(NODES[-1])}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left + _LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    parts.extend(f'<text x="{x(nodes)}" y="{_TOP + _HIGH + 18}" text-anchor="middle">{nodes}</text>' for nodes in NODES)
    parts.append(f'<text x="{x(NODES[-1])}" y="{_TOP + _HIGH + 36}" text-anchor="end">nodes (masters)</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number]
        for one, other in pairwise(NODES):
            if line[one] <= _TOPMOST or line[other] <= _TOPMOST:
                path = f"M{x(one):.1f} {y(line[one]):.1f}L{x(other):.1f} {y(line[other]):.1f}"
                parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="2"/>')
        row = _TOP + _HIGH + 58 + 18 * number
        parts.append(f'<path d="M{left + _LEFT} {row - 4}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{left + _LEFT + 30}" y="{row}">{escape(name)}, up to {max(line.values()):.2f}</text>')
    return parts


def draw(file: Path, left: dict[str, Spread], right: dict[str, Spread]) -> None:
    """Write both as SVG."""
    style = "font-family:system-ui,sans-serif;font-size:12px;fill:#222222"
    size = f'width="{2 * _PANEL + 20}" height="{_TOP + _HIGH + 60 + 18 * max(len(left), len(right))}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{style}">']
    parts.append('<rect width="100%" height="100%" fill="#ffffff"/>')
    parts += _panel(0, "Busiest node / mean, one dense area of 1 TiB", left)
    parts += _panel(_PANEL, f"Busiest node / mean, {STRIPES_CLUSTER} stripes", right)
    file.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def show(title: str, lines: dict[str, Spread]) -> None:
    """Print as a table."""
    print(f"{title:<30}" + "".join(f"{nodes:>7}" for nodes in NODES) + "  nodes")
    for name, line in lines.items():
        print(f"  {name:<28}" + "".join(f"{line[nodes]:>7.2f}" for nodes in NODES))


def main() -> None:
    left, right = by_stripes(), by_area()
    show("one dense area of 1 TiB", left)
    show(f"{STRIPES_CLUSTER} stripes", right)
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]), left, right)


if __name__ == "__main__":
    main()
