"""Numbers as people read them."""

from __future__ import annotations

MIB = 1 << 20
_STEP = 1024


def readable_bytes(length: int) -> str:
    """Bytes in the unit that suits them: 17 B, 3.2 KiB, 12.5 MiB, 1.5 GiB."""
    amount = float(length)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < _STEP or unit == "TiB":
            break
        amount /= _STEP
    return f"{amount:,.0f} B" if unit == "B" else f"{amount:,.1f} {unit}"


def shares(counts: dict[str, int]) -> str:
    """Counts with their names and their percentages of all."""
    whole = sum(counts.values())
    return ", ".join(f"{name} {part:,} ({100 * part / max(1, whole):.1f} %)" for name, part in counts.items())


def ratio(value: float | None) -> str:
    """A compression ratio; a dash where there is nothing to compare."""
    return "–" if value is None else f"{value:.2f}"


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None:
        return "–"
    if value < 1e-3:  # noqa: PLR2004
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
