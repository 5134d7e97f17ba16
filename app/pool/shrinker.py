"""Makes room: cold pages of the types that allow it go, second chance as in zswap.

A hand walks over the chunks of those types, one step (app/store/shrink_run.lua) after another. It takes expired pages;
of the others it takes those that were not referenced since it last passed, and clears the mark of those that were.
Types of a lower priority go first; those of one priority lie in one ring. Where a whole round finds nothing to take and
no mark to clear, nothing is left that could go.

One shrinker works at a time, over all workers and replicas: whoever has the lease in Redis. Its positions are kept
there, and each step is one script that keeps all counters; so it may be killed at any moment, and the next one goes on.
Between steps it rests for three times as long as the step took: Redis gives it a quarter of its time at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from app.errors import PagepoolError
from app.pool.admission import Gate
from app.pool.ledger import Ledger
from app.pool.numbers import Shrunk
from app.pool.state import PoolState
from app.store.base import PolicyOutdated, StoreFull
from app.store.keys import RUN_CHUNKS
from app.store.policy import Policy
from app.store.reclaim import Hand, Reclaim
from app.store.redis import RedisStore
from app.store.script_header import ChunkChange

logger = logging.getLogger("pagepool.pool")

WAIT_SECONDS: Final = 0.5
"""How long a store waits for room at most."""

REST_FACTOR: Final = 3
"""Rest between steps, in terms of a step's time: a quarter of Redis's time goes into shrinking at most."""

RENEW_SECONDS: Final = 1.0
ELSEWHERE_SECONDS: Final = 0.05
"""How often one that waits looks whether another worker has made room."""

BARREN_SECONDS: Final = 1.0
"""After a reclaim found nothing that could go, the next one waits so long, unless something was stored meanwhile."""

CALL_SECONDS: Final = 5.0
"""How long a shrink on request goes on; it can be asked for again."""

SWEEP_SHARE: Final = 4
SWEEP_SECONDS: Final = (5, 600)
"""Expired pages are swept each quarter of their time to live, within these bounds."""

RUNS_AT_ONCE: Final = 32
_LAST_RUN: Final = 1 << 51
MOST_ROUNDS: Final = 16
"""Rounds of one reclaim: two are enough, unless what it spares is loaded again all the time."""

Scope = int | None
"""A type with a limit of its own, or None: the pool."""


class LeaseElsewhere(Exception):
    """Another worker or replica shrinks now."""


class Shrinker:
    """One worker's part in making room."""

    def __init__(self, store: RedisStore, state: PoolState, reclaim: Reclaim) -> None:
        self._store = store
        self._state = state
        self._reclaim = reclaim
        self._wanted: dict[Scope, int] = {}
        """Bytes that are to fit below the limit, by scope."""
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._turn = asyncio.Lock()
        self._renewed_at = 0.0
        self._barren: dict[Scope, tuple[float, int]] = {}
        self._swept_at = 0.0

    # Who asks

    def wake_if_near(self, type_: int) -> None:
        """Begin to make room in the background where a limit is near."""
        for scope, ledger in self._scopes(type_):
            if ledger.limit.bytes and ledger.bytes_at_most >= ledger.limit.wake and self._may_help(scope):
                self._want(scope, 0)

    async def make_room(self, change: ChunkChange) -> bool:
        """Wait until a change fits, for a bounded time; whether there was anything to wait for."""
        has_waited = False
        for scope, ledger in self._scopes(change.type):
            limit, new_bytes = ledger.limit.bytes, change.blob_bytes
            if not limit or new_bytes > limit or not self._may_help(scope):
                continue
            deadline = monotonic() + WAIT_SECONDS
            while self._may_help(scope) and monotonic() < deadline:
                if ledger.gate_now() is Gate.OPEN and ledger.bytes_at_most + new_bytes <= limit:
                    break
                has_waited = True
                self._want(scope, ledger.bytes_in_flight + new_bytes)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._progress.wait(), deadline - monotonic())
            if has_waited:
                await self._state.set_gate(ledger.gate_now(), scope)
        return has_waited

    async def shrink(self, scope: Scope, goal_bytes: int) -> Shrunk:
        """Free so many bytes of the pool or a type, or as many as can be freed within CALL_SECONDS.

        Raises:
            LeaseElsewhere: another worker shrinks now, and went on for too long.
            BackendUnavailable: Redis is out of reach.
        """
        done = await self._in_turn(scope, goal_bytes, CALL_SECONDS)
        if done.freed_bytes < goal_bytes:
            await self._reclaim.count_failure(scope)
        return done

    # Background

    async def work(self) -> None:
        """Make room whenever somebody wants it, and sweep what has expired, for as long as the worker lives."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), SWEEP_SECONDS[0] / 5)
            self._wake.clear()
            try:
                await self._serve_wants()
                await self._sweep()
            except (PagepoolError, StoreFull, PolicyOutdated) as error:
                logger.warning("cannot make room: %s", error)
                await asyncio.sleep(ELSEWHERE_SECONDS)
            except Exception:
                logger.exception("Unforeseen failure")
                await asyncio.sleep(1)
            finally:
                self._tell_progress()

    async def _serve_wants(self) -> None:
        while self._wanted:
            scope, new_bytes = self._wanted.popitem()
            ledger = self._state.pool if scope is None else self._state.types.get(scope)
            if ledger is None or not self._may_help(scope):
                continue
            await self._state.look(scope)
            limit = ledger.limit
            held = ledger.held_bytes()
            goal = max(held - limit.reopen if held + new_bytes >= limit.wake else 0, held + new_bytes - limit.bytes)
            if not limit.bytes or goal <= 0:
                continue
            try:
                done = await self._in_turn(scope, goal, None)
            except LeaseElsewhere:
                await self._state.look(scope)
                continue
            if done.freed_bytes < goal:
                self._barren[scope] = monotonic(), self._grown
                await self._reclaim.count_failure(scope)
            await self._state.set_gate(ledger.gate_now(), scope)

    async def _sweep(self) -> None:
        """Take what has expired of the types whose turn it is."""
        if monotonic() - self._swept_at < SWEEP_SECONDS[0]:
            return
        self._swept_at = monotonic()
        for policy in [policy for policy in self._state.policies.values() if policy.ttl_seconds]:
            now = int(self._store.server_time(self._store.keys.stripe_of(policy.type, 0)))
            least, most = SWEEP_SECONDS
            name = f"swept:{policy.type}"
            if now - await self._reclaim.read_second(name) < min(max(policy.ttl_seconds // SWEEP_SHARE, least), most):
                continue
            with suppress(LeaseElsewhere):
                async with self._turn:
                    await self._hold_lease(0)
                    try:
                        await self._reclaim.write_second(name, now)
                        await self._walk([policy], "sweep", 0, None)
                    finally:
                        await self._reclaim.give_lease_back()

    # How

    def _scopes(self, type_: int) -> Sequence[tuple[Scope, Ledger]]:
        own = self._state.types.get(type_)
        return [(None, self._state.pool)] if own is None else [(None, self._state.pool), (type_, own)]

    @property
    def _grown(self) -> int:
        """Bytes of the pool, as far as known: more of them may be more that can go."""
        return self._store.total_bytes

    def _givers(self, scope: Scope) -> list[Policy]:
        policies = self._state.policies
        if scope is None:
            return [policy for policy in policies.values() if policy.gives_way]
        own = policies.get(scope)
        return [own] if own is not None and own.gives_way else []

    def _may_help(self, scope: Scope) -> bool:
        """Whether anything could go."""
        if not self._givers(scope):
            return False
        since, held = self._barren.get(scope, (float("-inf"), 0))
        return monotonic() - since > BARREN_SECONDS or self._grown > held

    def _want(self, scope: Scope, new_bytes: int) -> None:
        self._wanted[scope] = max(self._wanted.get(scope, 0), new_bytes)
        self._wake.set()

    def _tell_progress(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def _in_turn(self, scope: Scope, goal_bytes: int, seconds: float | None) -> Shrunk:
        """Shrink once it is this worker's turn."""
        async with self._turn:
            await self._hold_lease(WAIT_SECONDS if seconds is None else seconds)
            deadline = None if seconds is None else monotonic() + seconds
            try:
                done = Shrunk()
                givers = self._givers(scope)
                for priority in sorted({policy.priority for policy in givers}):
                    left = goal_bytes - done.freed_bytes
                    if left <= 0:
                        break
                    ring = [policy for policy in givers if policy.priority == priority]
                    name = f"hand:{priority}" if scope is None else f"hand:type:{scope}"
                    done += await self._walk(ring, name, left, deadline)
                return done
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

    async def _walk(self, ring: list[Policy], name: str, goal_bytes: int, deadline: float | None) -> Shrunk:
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
            self._tell_progress()
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
