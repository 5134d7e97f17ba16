"""The end of background tasks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

CANCEL_EVERY_SECONDS: Final = 1.0
"""What a task has to end, its own clean-up included, before it is cancelled once more."""


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and wait until they have ended; what they raised is theirs.

    Once is not enough: Python 3.11's asyncio.wait_for, with which redis-py sends, loses a cancellation that comes just
    when what it waits for is done (https://github.com/python/cpython/issues/86296), and the task goes on.
    """
    pending = {task for task in tasks if task is not None and not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_EVERY_SECONDS)
