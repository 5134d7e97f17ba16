"""What makes room asks of Redis: the hand over a run, marks of loads, the lease, and figures of idleness."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from app.errors import BackendUnavailable
from app.store.base import PolicyOutdated, StoreFull
from app.store.keys import RUN_CHUNKS, RUN_SHIFT
from app.store.multiplexer import pack_command
from app.store.policy import Policy
from app.store.redis import RedisStore
from app.store.replies import checked
from app.store.script_header import Status
from app.store.scripts import COUNT_FAILURE, COUNT_IDLE, SHRINK_RUN, TAKE_LEASE, TOUCH_CHUNKS, call_script

STEP_CHUNKS: Final = 64
"""Chunks that the hand passes in one step at most."""

STEP_PAGES: Final = 64
"""Pages that one step takes, about; it looks at 16 times as many. Redis is held up for well under a millisecond."""

TOUCH_CHUNKS_AT_ONCE: Final = 64
LEASE_MILLISECONDS: Final = 3000


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the hand did."""

    next_place: int
    """The place in the run to go on from; RUN_CHUNKS: the run is done."""
    evicted: int
    expired: int
    freed_bytes: int
    spared: int
    """Pages that lost their mark, and will go next time."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Where the hand stands: before this place of this run of this type."""

    type: int = -1
    run: int = 0
    place: int = 0


class Reclaim:
    """What the shrinker asks of one store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._nodes = store.nodes
        self._keys = store.keys
        self._owner = secrets.token_hex(8)

    # The hand

    async def step(self, policy: Policy, hand: Hand, goal_bytes: int) -> Step:
        """Take expired pages of a few chunks, and until `goal_bytes` are freed cold ones; 0: expired ones only.

        Raises:
            PolicyOutdated: the type has another policy by now; nothing was changed.
            BackendUnavailable: Redis is out of reach; the step may have been done.
        """
        keys, type_ = self._keys, hand.type
        stripe = keys.stripe_of(type_, hand.run << RUN_SHIFT)
        connection = self._nodes.stores(stripe)
        behind = min(hand.place + STEP_CHUNKS, RUN_CHUNKS)
        chunks = [keys.chunk(stripe, type_, (hand.run << RUN_SHIFT) + place) for place in range(hand.place, behind)]
        arguments: list[Any] = [
            self._store.record.pool_id,
            type_,
            hand.run,
            hand.place,
            f"{connection.deadline(monotonic()):.0f}",
            policy.version,
            goal_bytes,
            policy.ttl_seconds,
            policy.since,
            STEP_PAGES,
        ]
        route = self._nodes.of_key(keys.stripe_keys[stripe])
        status, *rest = await call_script(route, SHRINK_RUN, [*keys.beside_chunks(stripe, type_), *chunks], arguments)
        if status == Status.OUTDATED:
            raise PolicyOutdated
        if status != Status.DONE:
            raise BackendUnavailable("Redis was reached too late, or has lost the stripe.")
        place, evicted, expired, freed, spared, pages, bytes_, _, type_bytes = rest
        self._store.learn_totals(stripe, pages, bytes_)
        self._store.learn_type_totals(type_, stripe, type_bytes)
        return Step(place, evicted, expired, freed, spared)

    async def read_hand(self, name: str) -> Hand:
        """Where a hand stands."""
        text = checked(await self._ask(b"HGET", self._keys.hands, name))
        return Hand(*map(int, text.split())) if text else Hand()

    async def write_hand(self, name: str, hand: Hand) -> None:
        """Keep where a hand stands; without memory it is forgotten, which costs nothing but a repeated walk."""
        position = f"{hand.type} {hand.run} {hand.place}"
        await self._note(name, position)

    async def read_second(self, name: str) -> int:
        """A second that was kept under a name; 0 where none was."""
        return int(checked(await self._ask(b"HGET", self._keys.hands, name)) or 0)

    async def write_second(self, name: str, second: int) -> None:
        """Keep a second under a name."""
        await self._note(name, str(second))

    async def _note(self, name: str, text: str) -> None:
        try:
            checked(await self._ask(b"HSET", self._keys.hands, name, text))
        except StoreFull:
            return

    # One at a time

    async def take_lease(self) -> bool:
        """Whether this worker is the only one that may shrink, for LEASE_MILLISECONDS from now."""
        return await self._lease(LEASE_MILLISECONDS)

    async def give_lease_back(self) -> None:
        """Let others shrink."""
        await self._lease(0)

    async def _lease(self, milliseconds: int) -> bool:
        key = self._keys.lease
        return bool(await call_script(self._nodes.of_key(key), TAKE_LEASE, [key], [self._owner, milliseconds]))

    # Marks

    async def touch(self, type_: int, maps: Mapping[int, int]) -> None:
        """Mark pages of a type as referenced and touched now: maps by chunk. What is gone stays so."""
        of_stripe: dict[int, list[int]] = {}
        for chunk in maps:
            of_stripe.setdefault(self._keys.stripe_of(type_, chunk), []).append(chunk)
        calls = []
        for stripe, chunks in of_stripe.items():
            route = self._nodes.of_key(self._keys.stripe_keys[stripe])
            for first in range(0, len(chunks), TOUCH_CHUNKS_AT_ONCE):
                part = chunks[first : first + TOUCH_CHUNKS_AT_ONCE]
                keys = [self._keys.chunk(stripe, type_, chunk) for chunk in part]
                masks = [maps[chunk].to_bytes(8, "little") for chunk in part]
                calls.append(call_script(route, TOUCH_CHUNKS, keys, masks))
        await asyncio.gather(*calls, return_exceptions=True)

    # Figures

    async def idle_of_run(self, policy: Policy, run: int, ages: Sequence[int]) -> list[int]:
        """How many pages a run has; then for each age (seconds) how many were not stored, and not touched, for it."""
        stripe = self._keys.stripe_of(policy.type, run << RUN_SHIFT)
        chunks = [self._keys.chunk(stripe, policy.type, (run << RUN_SHIFT) + place) for place in range(RUN_CHUNKS)]
        keys = [self._keys.maps(stripe, policy.type), *chunks]
        route = self._nodes.of_key(keys[0], is_load=True)
        reply = await call_script(route, COUNT_IDLE, keys, [run, policy.since, policy.ttl_seconds, *ages])
        return [int(number) for number in reply]

    async def forget_reclaims(self, type_: int) -> None:
        """Begin a type's counters anew; the pool's stay."""
        field = b"x%d" % type_
        for key in self._keys.stripe_keys:
            checked(await self._nodes.of_key(key).send(pack_command((b"HDEL", key, field))))

    async def count_failure(self, type_: int | None) -> None:
        """Count a reclaim that did not make the room it should: in the pool, and in the type that it was for."""
        fields = [b"x"] if type_ is None else [b"x", b"x%d" % type_]
        key = self._keys.stripe_keys[0 if type_ is None else self._keys.stripe_of(type_, 0)]
        await call_script(self._nodes.of_key(key), COUNT_FAILURE, [key], fields)

    async def _ask(self, *command: bytes | str) -> Any:
        return await self._nodes.of_key(self._keys.hands).send(pack_command(command))
