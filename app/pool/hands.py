"""The hand that walks over types and takes cold pages, and the lease without which it does not move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from app.errors import PagepoolError
from app.pool.numbers import Shrunk
from app.pool.state import PoolState
from app.store.base import PolicyOutdated
from app.store.keys import RUN_CHUNKS
from app.store.policy import Policy
from app.store.reclaim import Hand, Reclaim
from app.store.redis import RedisStore

REST_FACTOR: Final = 3
"""Rest between steps, in terms of a step's time: a quarter of Redis's time goes into shrinking at most."""

RENEW_SECONDS: Final = 1.0
ELSEWHERE_SECONDS: Final = 0.05
"""How often one that waits asks whether another worker still shrinks."""

MOST_ROUNDS: Final = 16
"""Rounds of one reclaim: two are enough, unless what it spares is loaded again all the time."""

RUNS_AT_ONCE: Final = 32
_LAST_RUN: Final = 1 << 51


class LeaseElsewhere(Exception):
    """Another worker or replica shrinks now."""


class Hands:
    """One worker's hands, of which one moves at a time; `on_progress` is called whenever pages went."""

    def __init__(self, store: RedisStore, state: PoolState, reclaim: Reclaim, on_progress: Callable[[], None]) -> None:
        self._store = store
        self._state = state
        self._reclaim = reclaim
        self._on_progress = on_progress
        self._turn = asyncio.Lock()
        self._renewed_at = 0.0

    @asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[None]:
        """Hold the lease within the block; wait for it for so long at most.

        Raises:
            LeaseElsewhere: another worker or replica shrinks all that time.
        """
        async with self._turn:
            await self._hold_lease(seconds)
            try:
                yield
            finally:
                with suppress(PagepoolError):
                    await self._reclaim.give_lease_back()

    async def _hold_lease(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        while not await self._reclaim.take_lease():
            if monotonic() >= deadline:
                raise LeaseElsewhere
            await asyncio.sleep(ELSEWHERE_SECONDS)
        self._renewed_at = monotonic()

    async def walk(self, ring: list[Policy], name: str, goal_bytes: int, deadline: float | None) -> Shrunk:
        """Turn the hand over the types of a ring until the goal is met, or a whole round finds nothing that could go.

        A goal of 0 takes expired pages only, once around.
        """
        policies = {policy.type: policy for policy in ring}
        types = sorted(policies)
        hand = await self._reclaim.read_hand(name) if goal_bytes else Hand()
        at = next((place for place, type_ in enumerate(types) if type_ >= hand.type), 0)
        order = types[at:] + types[:at]
        walk = _Walk(name, goal_bytes, deadline, hand)
        for round_ in range(MOST_ROUNDS if goal_bytes else 1):
            walk.is_fruitless = True
            for type_ in order:
                if not await self._pass_type(walk, policies[type_]):
                    return walk.done
            # The first round begins where the hand stood: only the next ones are whole.
            if walk.is_fruitless and round_:
                break
        return walk.done

    async def _pass_type(self, walk: _Walk, policy: Policy) -> bool:
        """Turn the hand over a type, from where it stands if it stands there; whether to go on with the next type."""
        type_ = policy.type
        hand = walk.hand if walk.hand.type == type_ else Hand(type_)
        while runs := await self._store.runs(type_, hand.run, _LAST_RUN, RUNS_AT_ONCE):
            for run in runs:
                hand = hand if hand.run == run else Hand(type_, run)
                while hand.place < RUN_CHUNKS:
                    hand = await self._step(walk, self._state.policies.get(type_, policy), hand)
                    if walk.is_over:
                        await self._reclaim.write_hand(walk.name, hand)
                        return False
                if walk.goal_bytes:
                    await self._reclaim.write_hand(walk.name, hand)
                hand = Hand(type_, run + 1)
        walk.hand = Hand()
        return True

    async def _step(self, walk: _Walk, policy: Policy, hand: Hand) -> Hand:
        """One step, and the rest after it; where the hand stands then."""
        started = monotonic()
        if started - self._renewed_at > RENEW_SECONDS:
            await self._hold_lease(0)
        goal = max(walk.goal_bytes - walk.done.freed_bytes, 0) if policy.evicts else 0
        try:
            step = await self._reclaim.step(policy, hand, goal)
        except PolicyOutdated:
            await self._state.reload_policies()
            is_governed = hand.type in self._state.policies
            return hand if is_governed else Hand(hand.type, hand.run, RUN_CHUNKS)
        walk.done += Shrunk(step.evicted, step.expired, step.freed_bytes)
        if step.evicted or step.expired or step.spared:
            walk.is_fruitless = False
            self._on_progress()
        await asyncio.sleep(REST_FACTOR * (monotonic() - started))
        return Hand(hand.type, hand.run, step.next_place)


@dataclass(slots=True)
class _Walk:
    """One reclaim on its way around a ring of types."""

    name: str
    """Of the hand."""
    goal_bytes: int
    deadline: float | None
    hand: Hand
    done: Shrunk = field(default_factory=Shrunk)
    is_fruitless: bool = True
    """Whether this round has found nothing that went, or that will go next time."""

    @property
    def is_over(self) -> bool:
        """Whether the goal is met, or time is up."""
        if self.deadline is not None and monotonic() > self.deadline:
            return True
        return 0 < self.goal_bytes <= self.done.freed_bytes
