"""The end of background tasks (app/tasks.py)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from app import tasks


@pytest.fixture(autouse=True)
def _at_short_intervals(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_EVERY_SECONDS", 0.01)


async def work(loses: int) -> None:
    """Go on for ever, but for a cancellation after the first `loses`."""
    for _ in range(loses):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("loses", [0, 1, 3])
def test_a_task_ends_whatever_it_loses(loses: int) -> None:
    """A cancellation that got lost is given again."""

    async def start_and_end() -> list[asyncio.Task[None]]:
        begun = [asyncio.create_task(work(loses)), asyncio.create_task(work(0))]
        await asyncio.sleep(0)
        await tasks.end(*begun)
        return begun

    assert all(task.cancelled() for task in asyncio.run(start_and_end()))


def test_a_task_that_is_cancelled_as_its_wait_is_over() -> None:
    """As redis-py's are: asyncio.wait_for loses that cancellation on Python 3.11."""

    async def wait_again_and_again(over: asyncio.Event) -> None:
        while True:
            await asyncio.wait_for(over.wait(), 60)
            over.clear()

    async def start_and_end() -> asyncio.Task[None]:
        over = asyncio.Event()
        task = asyncio.create_task(wait_again_and_again(over))
        await asyncio.sleep(0.01)
        over.set()
        await asyncio.sleep(0)  # the inner task is done now; who waits for it has yet to be told
        await tasks.end(task)
        return task

    assert asyncio.run(start_and_end()).cancelled()


def test_nothing_to_end() -> None:
    """A task that never began, and one that has ended, failed or not."""

    async def fail() -> None:
        raise ValueError

    async def start_and_end() -> None:
        ended = asyncio.create_task(asyncio.sleep(0))
        failed = asyncio.create_task(fail())
        await asyncio.wait([ended, failed])
        await tasks.end(None, ended, failed)
        assert isinstance(failed.exception(), ValueError)

    asyncio.run(start_and_end())
