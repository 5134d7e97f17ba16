"""When a call is repeated, and how long to wait: decided here, without a clock.

An answer with Retry-After may be repeated, one without may not. A load whose connection was refused or cut is repeated
as well, since it changes nothing; a store, only where nothing of it was sent. A take, and a store under a precondition,
are never sent twice: the second could find the first one's work.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pagepool_client.errors import NoAnswer, NotReachable, PagepoolError, Problem

RETRIABLE_STATUSES: Final = frozenset({429, 503, 507})


class Repeat(Enum):
    """What sending a call twice would do."""

    HARMLESS = "it changes nothing"
    IF_REFUSED = "it changes something: only when the service, or a missing connection, said that it may be repeated"
    NEVER = "the second could find the first one's work"


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently calls are repeated.

    `attempts` counts the first one. The wait before attempt n + 1 is what Retry-After says plus a random share of
    `base_seconds` × 2^n; a service that asks for more than `longest_seconds` is not waited for.
    """

    attempts: int = 4
    base_seconds: float = 0.1
    longest_seconds: float = 30.0
    jitter: Callable[[], float] = random.random

    def wait_after(self, error: PagepoolError, attempt: int, repeat: Repeat) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) ended in `error`; None: give up."""
        if attempt >= self.attempts or repeat is Repeat.NEVER:
            return None
        spread = self.jitter() * self.base_seconds * 2 ** (attempt - 1)
        if isinstance(error, Problem):
            if error.status not in RETRIABLE_STATUSES or error.retry_after is None:
                return None
            wait = error.retry_after + spread
        elif isinstance(error, NotReachable) or (isinstance(error, NoAnswer) and repeat is Repeat.HARMLESS):
            wait = spread
        else:
            return None
        return wait if wait <= self.longest_seconds else None


NO_RETRIES: Final = Retries(attempts=1)
