"""How long a call may go on asking Redis.

Every command is answered or given up within PAGEPOOL_REDIS_TIMEOUT. A call that asks Redis several times in turn begins
its last step within a second of its first, so that each call is answered within the timeout and a second (contract
2.6).
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from app.errors import BackendUnavailable

LAST_STEP_SECONDS: Final = 1.0


def ensure_time(started: float) -> None:
    """Called before another step of a call that began at `started` (time.perf_counter).

    Raises:
        BackendUnavailable: Redis is so slow that the step would come too late.
    """
    if perf_counter() - started > LAST_STEP_SECONDS:
        raise BackendUnavailable("Redis is too slow for a call that has to ask it more than once.")
