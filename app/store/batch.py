"""Commands that were sent together, and what becomes of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

DealWith = Callable[[Sequence[Item], Sequence["Outcome"]], None]

Outcome = Any
"""Redis's reply, as app.store.connection has it; or the BackendUnavailable that stands for one that never came."""


class Batch(Generic[Item]):
    """Receives the replies to the commands for `items`, in their order; `deal` hands on those that have come since.

    Who waits for a reply need not exist for each of them: to take one down costs no frame of the interpreter.
    """

    __slots__ = ("_deal_with", "_dealt", "_outcomes", "_when_done", "items", "sent_at", "set_result")

    def __init__(
        self,
        items: Sequence[Item],
        sent_at: float,
        deal_with: DealWith[Item],
        when_done: Callable[[Batch[Item]], None],
    ) -> None:
        self.items: Final = items
        self.sent_at: Final = sent_at
        """time.monotonic, at which they were posted."""
        self._outcomes: list[Outcome] = []
        self._dealt = 0
        self._deal_with = deal_with
        self._when_done = when_done
        self.set_result = self._outcomes.append

    def set_exception(self, error: BaseException, /) -> None:
        """The next reply will never come."""
        self._outcomes.append(error)
        self.deal()

    def deal(self) -> None:
        """Hand on what has come since the last time."""
        begin, end = self._dealt, len(self._outcomes)
        if begin < end:
            self._dealt = end
            if end == len(self.items):
                self._when_done(self)
            try:
                self._deal_with(self.items[begin:end], self._outcomes[begin:end])
            except Exception:
                # Not to be seen by Redis's connection, which others need.
                logger.exception("Unforeseen failure")
