"""What this worker knows of its pool: tunables, policies, open or closed, totals; and how it keeps that fresh."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from app.errors import BackendUnavailable, PagepoolError
from app.page.codec import Encoder
from app.pool.admission import LOOK_BYTES, Gate, Limit, Verdict, limit_of_pool
from app.pool.ledger import ByteRoom, Ledger
from app.pool.numbers import TypeConfiguration
from app.pool.parameters import Parameters
from app.store.base import ChangeResult, StoreFull
from app.store.configurations import Configurations
from app.store.keys import CHUNK_PAGES
from app.store.policy import Policy
from app.store.record import PoolRecord
from app.store.redis import RedisStore, TypeTotals
from app.store.script_header import UNBOUNDED, ChunkChange, Room
from app.telemetry import Telemetry
from app.telemetry_cells import GATE_CHANGES, PARAMETERS_VERSION, POLICIES_VERSION

logger = logging.getLogger("pagepool.pool")

WATCH_SECONDS: Final = 0.2
"""How often a worker asks for the record's state: other replicas follow a change within one second."""


class PoolState:
    """Kept fresh by `watch`, by looks when admission asks for one, and by the answers to this worker's own stores."""

    def __init__(self, record: PoolRecord, store: RedisStore, page_size: int, telemetry: Telemetry) -> None:
        self._record = record
        self._store = store
        self._page_size = page_size
        self._telemetry = telemetry
        self.configurations = Configurations(store.nodes, record)
        self.version = 0
        self.policies: dict[int, Policy] = {}
        """Those of the governed types; this very object for as long as the worker lives."""
        self.expiring: set[int] = set()
        """Those of them whose pages expire; likewise."""
        self.policies_version = -1
        self.pool = Ledger(lambda: store.total_bytes, self._signal)
        self.types: dict[int, Ledger] = {}
        """Of the types that have a limit of their own."""
        self.is_lost = False
        self.exact_turn = asyncio.Lock()
        self._pages_in_flight = 0
        self._look: asyncio.Task[None] | None = None
        self._parameters: Parameters | None = None
        self._encoder: Encoder | None = None
        self._was_failing = False
        self._sure_bytes: float = 0
        self._near_bytes: float = 0
        self._is_limited = False
        self._sure_pages = 0

    def _signal(self) -> float:
        return sum(self._telemetry.column(GATE_CHANGES))

    @property
    def gate(self) -> Gate:
        """Whether the pool is open."""
        return self.pool.gate

    @property
    def parameters(self) -> Parameters:
        """The tunables as of the last look."""
        assert self._parameters is not None  # noqa: S101  read before anything is served
        return self._parameters

    @property
    def encoder(self) -> Encoder:
        """Encodes pages under the compressor of now."""
        assert self._encoder is not None  # noqa: S101  as above
        return self._encoder

    # Tunables

    async def reload(self) -> None:
        """Read the tunables and take them over."""
        version, values = await self._record.read_parameters()
        self.take_over(version, values)

    def take_over(self, version: int, values: dict[str, Any]) -> None:
        """Adopt tunables, and tell the other workers which version this one has."""
        parameters = Parameters.model_validate(values)
        if self._parameters is None or parameters.compressor != self._parameters.compressor:
            self._encoder = Encoder(self._page_size, parameters.compressor)
        self._parameters = parameters
        self.pool.limit = limit_of_pool(parameters)
        self._set_marks()
        for type_, policy in self.policies.items():
            self._limit_type(type_, policy)
        self.version = version
        self._telemetry.cells[PARAMETERS_VERSION] = version

    def _set_marks(self) -> None:
        """Up to where `surely_fits` need not ask."""
        parameters, limit = self.parameters, self.pool.limit
        self._is_limited = limit.bytes > 0
        self._sure_bytes = limit.reopen - LOOK_BYTES if limit.bytes else UNBOUNDED
        # Where pages give way, the shrinker has to learn of stores that come near the limit.
        self._near_bytes = limit.wake if any(policy.gives_way for policy in self.policies.values()) else limit.bytes
        if not parameters.enabled:
            self._sure_bytes = self._near_bytes = -UNBOUNDED
        self._sure_pages = parameters.max_stored_pages - CHUNK_PAGES

    async def look_at_policies(self) -> None:
        """Take over the types' policies where any has changed."""
        if await self.configurations.version() != self.policies_version:
            await self.reload_policies()

    async def reload_policies(self) -> None:
        """Read the types' policies, and tell the other workers which version this one has."""
        version, governed = await self.configurations.read_governed()
        policies = {type_: _policy(type_, *known) for type_, known in governed.items()}
        for type_ in self.policies.keys() - policies.keys():
            self._limit_type(type_, None)
        for type_, policy in policies.items():
            self._limit_type(type_, policy)
        self.policies.clear()
        self.policies.update(policies)
        self.expiring.clear()
        self.expiring.update(type_ for type_, policy in policies.items() if policy.ttl_seconds)
        self._set_marks()
        self.policies_version = version
        self._telemetry.cells[POLICIES_VERSION] = max(version, 1)

    def _limit_type(self, type_: int, policy: Policy | None) -> None:
        if policy is None or not policy.max_pool_bytes:
            self.types.pop(type_, None)
            self._store.type_totals.pop(type_, None)
            return
        ledger = self.types.get(type_)
        if ledger is None:
            totals = self._store.type_totals[type_] = TypeTotals(self._store.keys.stripes)
            ledger = self.types[type_] = Ledger(lambda: totals.bytes, self._signal)
        ledger.limit = Limit.of(policy.max_pool_bytes, self.parameters.accept_threshold_percent)
        ledger.outdate()

    async def watch(self) -> None:
        """Follow the record for as long as the worker lives."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.look_at_record()
                await self.look_at_policies()
            except (PagepoolError, StoreFull) as error:
                if not self._was_failing:
                    logger.warning("the pool's record cannot be read: %s", error)
                self._was_failing = True
            except Exception:
                # Whatever it was, tunables have to be followed from the next look on.
                if not self._was_failing:
                    logger.exception("Unforeseen failure")
                self._was_failing = True
            else:
                self._was_failing = False

    async def look_at_record(self) -> None:
        """Take over what others changed: open or closed, and the tunables where their version moved."""
        types = list(self.types)
        asked = [
            (self.pool, self.pool.gate_moves),
            *((self.types[type_], self.types[type_].gate_moves) for type_ in types),
        ]
        state = await self._record.read_state(types)
        closed = [state.is_full, *(type_ in state.full_types for type_ in types)]
        for (ledger, moves), is_closed in zip(asked, closed, strict=True):
            # What this worker has opened or closed since it asked is newer than the answer.
            if ledger.gate_moves == moves:
                ledger.gate = Gate.CLOSED if is_closed else Gate.OPEN
        self.is_lost = state.is_lost
        if state.version != self.version:
            await self.reload()

    # Admission

    def ledgers(self, type_: int) -> tuple[Ledger, ...]:
        """The limits that count for a type: the pool's, and its own where it has one."""
        own = self.types.get(type_)
        return (self.pool,) if own is None else (self.pool, own)

    def decide(self, change: ChunkChange, *, has_looked: bool = False) -> Verdict:
        """What to do with a change, as far as bytes are concerned."""
        verdict = Verdict.FITS
        for ledger in self.ledgers(change.type):
            of_one = ledger.decide(change.blob_bytes, has_looked=has_looked)
            if of_one is Verdict.LOOK:
                return of_one
            if of_one is Verdict.EXACT:
                verdict = of_one
        return verdict

    def pages_fit(self, change: ChunkChange) -> bool:
        """Whether all pages may appear, whatever else is on its way."""
        pages = self._store.total_pages + self._pages_in_flight + change.put_map.bit_count()
        return pages <= self.parameters.max_stored_pages

    def surely_fits(self, new_bytes: int, new_pages: int = 1) -> bool:
        """Whether stores are enabled, and changes of pages of plain types are sent at once: the common answer."""
        store, pool = self._store, self.pool
        bytes_at_most = store.total_bytes + pool.bytes_in_flight + new_bytes
        return (
            pool.gate is Gate.OPEN
            and (bytes_at_most < self._sure_bytes or (bytes_at_most <= self._near_bytes and pool.is_fresh))
            and store.total_pages + self._pages_in_flight + new_pages <= self._sure_pages
            and (pool.bytes_since_look + new_bytes <= LOOK_BYTES or not self._is_limited)
        )

    def reserve(self, change: ChunkChange) -> None:
        """Count a change as on its way."""
        for ledger in self.ledgers(change.type):
            ledger.bytes_in_flight += change.blob_bytes
            ledger.bytes_since_look += change.blob_bytes
        self._pages_in_flight += change.put_map.bit_count()

    def release(self, change: ChunkChange) -> None:
        """Count a change as done; its answer has told the new totals."""
        for ledger in self.ledgers(change.type):
            # A limit that the type got meanwhile knows nothing of it.
            ledger.bytes_in_flight = max(ledger.bytes_in_flight - change.blob_bytes, 0)
        self._pages_in_flight -= change.put_map.bit_count()

    def reserve_pages(self, pages: int, blob_bytes: int) -> None:
        """As `reserve`, of pages of plain types."""
        pool = self.pool
        pool.bytes_in_flight += blob_bytes
        pool.bytes_since_look += blob_bytes
        self._pages_in_flight += pages

    def release_pages(self, pages: int, blob_bytes: int) -> None:
        """As `release`, of pages of plain types."""
        self.pool.bytes_in_flight -= blob_bytes
        self._pages_in_flight -= pages

    async def look(self, type_: int | None = None) -> None:
        """Look at the record and the totals, now, and at those of a type; all who ask in one tick share one look."""
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.create_task(self._look_now())
            loop.call_soon(self._forget_look)
        own = None if type_ is None else self.types.get(type_)
        if type_ is None or own is None:
            await asyncio.shield(self._look)
            return
        own.begin_look()
        await asyncio.gather(asyncio.shield(self._look), self._store.read_type_totals(type_))
        own.end_look()
        await self.set_gate(own.gate_now(), type_)

    def _forget_look(self) -> None:
        self._look = None

    async def _look_now(self) -> None:
        self.pool.begin_look()
        await asyncio.gather(self._store.read_totals(is_partial=True), self._look_at_record_if_there())
        self.pool.end_look()
        await self.set_gate(self.pool.gate_now())

    async def _look_at_record_if_there(self) -> None:
        try:
            await self.look_at_record()
        except BackendUnavailable:
            if not self._can_lack_record:
                raise

    @property
    def _can_lack_record(self) -> bool:
        """Whether stores go on without the record: on a cluster that has lost a master, those on the others do.

        They are admitted by what was last known of the lost stripes, and each worker finds by itself that the limit is
        reached, until the record can be read again.
        """
        return self._store.nodes.is_cluster and self._parameters is not None

    def room(self, type_: int) -> Room:
        """What is left, for a script to admit page by page."""
        own = self.types.get(type_)
        of_pool, of_type = self.pool.room(), ByteRoom() if own is None else own.room()
        pages = self.parameters.max_stored_pages - self._store.total_pages - self._pages_in_flight
        return Room(
            of_pool.headroom,
            of_pool.reopen,
            pages,
            of_pool.is_closed,
            of_type.headroom,
            of_type.reopen,
            of_type.is_closed,
        )

    async def settle(self, type_: int, room: Room, result: ChangeResult) -> None:
        """Move the gates as a script has found them, which was given this room."""
        if result.limit_hits:
            await self.set_gate(Gate.CLOSED)
        elif room.is_closed and not result.is_closed:
            await self.set_gate(Gate.OPEN)
        if result.type_is_closed is not room.type_is_closed and type_ in self.types:
            await self.set_gate(Gate.CLOSED if result.type_is_closed else Gate.OPEN, type_)

    async def set_gate(self, gate: Gate, type_: int | None = None) -> None:
        """Open or close the pool or a type, for all workers, before anybody is answered by it."""
        ledger = self.pool if type_ is None else self.types.get(type_)
        if ledger is not None and gate is not ledger.gate:
            ledger.gate = gate
            ledger.gate_moves += 1
            try:
                await self._record.write_full(is_full=gate is Gate.CLOSED, type_=type_)
            except BackendUnavailable:
                if not self._can_lack_record:
                    raise
            self._telemetry.cells[GATE_CHANGES] += 1
            logger.info("%s is %s", "the pool" if type_ is None else f"type {type_}", gate.value)


def _policy(type_: int, version: int, since: int, text: str) -> Policy:
    configuration = TypeConfiguration.model_validate_json(text)
    return Policy(
        type=type_,
        version=version,
        since=since,
        max_pool_bytes=configuration.max_pool_bytes or 0,
        evicts=configuration.eviction != "none",
        ttl_seconds=configuration.ttl_seconds or 0,
        priority=configuration.priority,
    )
