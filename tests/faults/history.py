"""What clients did and saw, page by page: the material that the checker judges.

Every request becomes one event for each page that it touched. An event's interval is [invoked, answered] on the clock
of the process that all clients run in; an effect that is not known to have ended keeps the interval open.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import xxhash

Value = int | None
"""What a page is: the hash of its bytes, or None for an absent one."""

Address = tuple[int, int]
"""Type and offset."""


def value_of(page: bytes) -> int:
    """The value that stands for these bytes."""
    return xxhash.xxh3_64_intdigest(page)


ZERO = value_of(bytes(4096))


class What(Enum):
    """What an event does to a page, or found there."""

    STORE = "store"
    """Acknowledged: the page is `value` afterwards."""
    LOAD = "load"
    """Found `value`, None for a miss."""
    TAKE = "take"
    """Found `value` and removed it."""
    INVALIDATE = "invalidate"
    """The page is absent afterwards: an invalidate, or a store that was refused (the stale-copy rule)."""
    REMOVE = "remove"
    """Found the page present, whatever it was, and removed it: the 204 of a DELETE."""
    CREATE = "create"
    """Found the page absent and stored `value`: the 204 of a PUT with If-None-Match: *."""
    PRESENT = "present"
    """Found the page present, whatever it was: the 412 of such a PUT."""
    UNKNOWN_STORE = "unknown store"
    """Failed: the page is what it was, or `value`, or absent."""
    UNKNOWN_REMOVE = "unknown remove"
    """Failed: the page is what it was, or absent."""
    LOSS = "loss"
    """Redis was emptied, or crashed without persistence: the page is absent afterwards."""
    ROLLBACK = "rollback"
    """Redis crashed and lost the last moments: the page is what it was at one of them."""


CHANGES = frozenset({What.STORE, What.TAKE, What.INVALIDATE, What.REMOVE, What.CREATE})
"""What, once acknowledged, no older failed change may overtake (contract 3.2)."""

UNKNOWN = frozenset({What.UNKNOWN_STORE, What.UNKNOWN_REMOVE})


class Event(NamedTuple):
    """One page's part in one request."""

    invoked: float
    answered: float
    what: What
    value: Value = None
    is_answered: bool = True
    """False: the connection ended without an answer, so an unknown change may yet take effect."""
    note: str = ""


@dataclass(frozen=True)
class Violation:
    """An answer that no order of the requests explains."""

    address: Address
    event: Event
    possible: frozenset[Value]
    context: tuple[Event, ...]

    def __str__(self) -> str:
        type_, offset = self.address
        lines = [f"page {type_}/{offset}: {describe(self.event)}, while it can only be {names(self.possible)}; before:"]
        lines += [f"    {describe(event)}" for event in self.context]
        return "\n".join(lines)


def names(values: frozenset[Value]) -> str:
    """Values in words."""
    return "{" + ", ".join(sorted("absent" if value is None else f"{value:016x}" for value in values)) + "}"


def describe(event: Event) -> str:
    """An event in words."""
    value = "absent" if event.value is None else "zeros" if event.value == ZERO else f"{event.value:016x}"
    outcome = "" if event.is_answered else ", never answered"
    return f"[{event.invoked:.4f}, {event.answered:.4f}] {event.what.value} {value}{outcome} {event.note}".rstrip()


class History:
    """Events by address; `add` is called by the clients."""

    def __init__(self) -> None:
        self.events: dict[Address, list[Event]] = defaultdict(list)

    def add(self, address: Address, event: Event) -> None:
        """Take down an event."""
        self.events[address].append(event)

    def add_everywhere(self, addresses: list[Address], event: Event) -> None:
        """Take down what befell every page: a loss, a crash."""
        for address in addresses:
            self.events[address].append(event)

    def __len__(self) -> int:
        return sum(map(len, self.events.values()))
