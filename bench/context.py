"""What every section is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Context:
    """How long to measure, and where to put what the servers need."""

    home: Path
    """A temporary folder with a short path: Unix sockets are in it."""
    is_quick: bool

    @property
    def rounds(self) -> int:
        """How often all peers are measured in turn."""
        return 2 if self.is_quick else 5

    @property
    def seconds(self) -> float:
        """How long one load runs."""
        return 1 if self.is_quick else 3
