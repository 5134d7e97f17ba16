"""What of one request was refused, and the error that it ends with."""

from __future__ import annotations

from app.errors import BackendFull, MetadataFull, PoolFull, Refused, TypeFull
from app.pool.changes import runs_of


class Refusals:
    """Offsets by reason."""

    def __init__(self) -> None:
        self.pool: list[int] = []
        self.type: list[int] = []
        self.metadata: list[int] = []
        self.memory: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.pool or self.type or self.metadata or self.memory)

    def error(self, asked_pages: int) -> Refused:
        """The error that the request ends with."""
        rejected = sorted([*self.pool, *self.type, *self.metadata, *self.memory])
        members = {"stored": asked_pages - len(rejected), "rejected": runs_of(rejected)}
        if self.memory:
            return BackendFull("Redis lacks the memory for the page.", **members)
        if self.pool:
            return PoolFull("The pool holds as many bytes as it may.", **members)
        if self.type:
            return TypeFull("The type holds as many bytes as it may.", **members)
        return MetadataFull("The pool holds as many pages as it may.", **members)
