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
from time import monotonic
from typing import Final

from app.errors import PagepoolError
from app.pool.admission import Gate
from app.pool.hands import ELSEWHERE_SECONDS, Hands, LeaseElsewhere
from app.pool.ledger import Ledger
from app.pool.numbers import Shrunk
from app.pool.state import PoolState
from app.store.base import PolicyOutdated, StoreFull
from app.store.policy import Policy
from app.store.reclaim import Reclaim
from app.store.redis import RedisStore
from app.store.script_header import ChunkChange

logger = logging.getLogger("pagepool.pool")

WAIT_SECONDS: Final = 0.9
"""How long a store waits for room at most."""

BARREN_SECONDS: Final = 1.0
"""After a reclaim found nothing that could go, the next one waits so long, unless something was stored meanwhile."""

CALL_SECONDS: Final = 5.0
"""How long a shrink on request goes on; it can be asked for again."""

SWEEP_SHARE: Final = 4
SWEEP_SECONDS: Final = (5, 600)
"""Expired pages are swept each quarter of their time to live, within these bounds."""

Scope = int | None
"""A type with a limit of its own, or None: the pool."""


class Shrinker:
    """One worker's part in making room."""

    def __init__(self, store: RedisStore, state: PoolState, reclaim: Reclaim) -> None:
        self._store = store
        self._state = state
        self._reclaim = reclaim
        self._wanted: dict[Scope, int] = {}
        """Bytes that are to fit below the limit, by scope."""
        self._wake = asyncio.Event()
        self._progress: asyncio.Future[None] | None = None
        self._hands = Hands(store, state, reclaim, self._tell_progress)
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
                await self._progress_or(deadline - monotonic())
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
                async with asyncio.timeout(SWEEP_SECONDS[0] / 5):
                    await self._wake.wait()
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
                async with self._hands.turn(0):
                    await self._reclaim.write_second(name, now)
                    await self._hands.walk([policy], "sweep", 0, None)

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

    async def _progress_or(self, seconds: float) -> None:
        """Wait until pages went, or for so long; not by asyncio.wait_for, which wants a task: the door has none."""
        loop = asyncio.get_running_loop()
        if self._progress is None:
            self._progress = loop.create_future()
        timer = loop.call_later(max(0.0, seconds), self._tell_progress)
        try:
            await asyncio.shield(self._progress)
        finally:
            timer.cancel()

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None and not progress.done():
            progress.set_result(None)

    async def _in_turn(self, scope: Scope, goal_bytes: int, seconds: float | None) -> Shrunk:
        """Shrink once it is this worker's turn."""
        async with self._hands.turn(WAIT_SECONDS if seconds is None else seconds):
            deadline = None if seconds is None else monotonic() + seconds
            done = Shrunk()
            givers = self._givers(scope)
            for priority in sorted({policy.priority for policy in givers}):
                left = goal_bytes - done.freed_bytes
                if left <= 0:
                    break
                ring = [policy for policy in givers if policy.priority == priority]
                name = f"hand:{priority}" if scope is None else f"hand:type:{scope}"
                done += await self._hands.walk(ring, name, left, deadline)
            return done
