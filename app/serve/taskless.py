"""Running a coroutine without a task: a task and its switches cost as much as a load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class TasklessRunner(Generic[Result]):
    """Runs one coroutine at a time, each to its end, as a task would.

    There is no current task meanwhile: `asyncio.timeout` and task groups do not work in such a coroutine.
    """

    __slots__ = ("_coroutine", "_loop", "_on_error", "_on_result")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_result: Callable[[Result], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._on_result = on_result
        self._on_error = on_error

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> None:
        """Run it; one of the two functions is called at its end, which may be now."""
        self._coroutine = coroutine
        self._step()

    def _step(self, _: object = None) -> None:
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            self._on_result(stop.value)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what the caller does not expect it logs
            self._on_error(error)
        else:
            if waited is None:
                self._loop.call_soon(self._step)
            else:
                waited._asyncio_future_blocking = False  # noqa: SLF001  how a Task takes what it is given to wait for
                waited.add_done_callback(self._step)
