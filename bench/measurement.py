"""What a section hands back: figures by round, and how two of them compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


class BenchError(Exception):
    """A measurement that cannot be trusted: the peer erred, answered other bytes, or did not start."""


@dataclass(slots=True)
class Measurement:
    """One peer's figure for one task: a value a round."""

    task: str
    peer: str
    unit: str
    rounds: list[float]
    lower_is_better: bool = False

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


@dataclass(slots=True)
class Section:
    """All that one section found."""

    name: str
    title: str
    measurements: list[Measurement] = field(default_factory=list)
    reference: str = ""
    """The peer that ratios are shown against, where the task has it."""
    notes: list[str] = field(default_factory=list)

    def add(
        self, task: str, unit: str, rounds_by_peer: Mapping[str, Sequence[float]], *, lower_is_better: bool = False
    ) -> None:
        """Add one task's figures, a list of rounds for each peer."""
        for peer, rounds in rounds_by_peer.items():
            self.measurements.append(Measurement(task, peer, unit, list(rounds), lower_is_better))

    def find(self, task: str, peer: str) -> Measurement | None:
        """The figure, if it was measured."""
        return next((m for m in self.measurements if m.task == task and m.peer == peer), None)

    def best(self, task: str, prefix: str) -> Measurement | None:
        """The best of the peers whose name begins so: a peer is run in every set-up that might suit it."""
        found = [m for m in self.measurements if m.task == task and m.peer.startswith(prefix)]
        if not found:
            return None
        return min(found, key=lambda m: m.value) if found[0].lower_is_better else max(found, key=lambda m: m.value)

    def as_json(self) -> dict[str, Any]:
        """Everything, rounds included."""
        return asdict(self)


def ratio(one: Measurement | None, other: Measurement | None) -> float | None:
    """The median over the rounds of `one` / `other`; of the medians where their rounds are not paired."""
    if one is None or other is None:
        return None
    if len(one.rounds) == len(other.rounds):
        pairs = [a / b for a, b in zip(one.rounds, other.rounds, strict=True) if b]
        return median(pairs) if pairs else None
    return one.value / other.value if other.value else None


def interleave(
    rounds: int, tasks: Mapping[str, Callable[[], float]], notes: list[str] | None = None
) -> dict[str, list[float]]:
    """Run all tasks in turn, `rounds` times; a task that fails is noted, and left out from then on."""
    results: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name in list(results):
            try:
                results[name].append(tasks[name]())
            except BenchError as error:
                del results[name]
                if notes is not None:
                    notes.append(f"{name}: left out: {error}")
    return results


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of an ascending sequence lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
