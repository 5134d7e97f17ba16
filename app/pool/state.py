"""What this worker knows of its pool: tunables, open or closed, totals; and how it keeps that fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from app.errors import BackendUnavailable, PagepoolError
from app.page.codec import Encoder
from app.pool.admission import LOOK_BYTES, Gate, Totals, Verdict, decide, gate_after, reopen_bytes, room
from app.pool.parameters import Parameters
from app.store.base import StoreFull
from app.store.keys import CHUNK_PAGES
from app.store.record import PoolRecord
from app.store.redis import RedisStore
from app.store.script_header import UNBOUNDED, ChunkChange, Room

logger = logging.getLogger("pagepool.pool")

WATCH_SECONDS: Final = 0.2
"""How often a worker asks for the record's state: other replicas follow a change within one second."""


class PoolState:
    """Kept fresh by `watch`, by looks when admission asks for one, and by the answers to this worker's own stores."""

    def __init__(
        self, record: PoolRecord, store: RedisStore, page_size: int, publish_version: Callable[[int], None]
    ) -> None:
        self._record = record
        self._store = store
        self._page_size = page_size
        self._publish_version = publish_version
        self.gate = Gate.OPEN
        self.version = 0
        self.is_lost = False
        self.exact_turn = asyncio.Lock()
        self._bytes_in_flight = 0
        self._pages_in_flight = 0
        self._bytes_since_look = 0
        self._look: asyncio.Task[None] | None = None
        self._parameters: Parameters | None = None
        self._encoder: Encoder | None = None
        self._was_failing = False
        self._sure_bytes: float = 0
        self._is_limited = False
        self._sure_pages = 0

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
        self._sure_bytes = reopen_bytes(parameters) - LOOK_BYTES if parameters.max_pool_bytes else UNBOUNDED
        if not parameters.enabled:
            self._sure_bytes = -UNBOUNDED
        self._is_limited = parameters.max_pool_bytes > 0
        self._sure_pages = parameters.max_stored_pages - CHUNK_PAGES
        self.version = version
        self._publish_version(version)

    async def watch(self) -> None:
        """Follow the record for as long as the worker lives."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.look_at_record()
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
        state = await self._record.read_state()
        self.gate = Gate.CLOSED if state.is_full else Gate.OPEN
        self.is_lost = state.is_lost
        if state.version != self.version:
            await self.reload()

    # Admission

    def totals(self) -> Totals:
        """What is known of the pool's bytes and pages."""
        return Totals(
            self._store.total_bytes,
            self._store.total_pages,
            self._bytes_in_flight,
            self._pages_in_flight,
            self._bytes_since_look,
        )

    def decide(self, new_bytes: int, new_pages: int) -> Verdict:
        """What to do with a store of so many bytes and pages."""
        return decide(self.gate, self.totals(), new_bytes, new_pages, self.parameters)

    def surely_fits(self, new_bytes: int) -> bool:
        """Whether stores are enabled, and `decide` would say FITS to one chunk's pages: its common answer, cheaply."""
        store = self._store
        return (
            self.gate is Gate.OPEN
            and store.total_bytes + self._bytes_in_flight + new_bytes < self._sure_bytes
            and store.total_pages + self._pages_in_flight < self._sure_pages
            and (self._bytes_since_look + new_bytes <= LOOK_BYTES or not self._is_limited)
        )

    def reserve(self, change: ChunkChange) -> None:
        """Count a change as on its way."""
        self._bytes_in_flight += change.blob_bytes
        self._bytes_since_look += change.blob_bytes
        self._pages_in_flight += change.put_map.bit_count()

    def reserve_page(self, blob_bytes: int) -> None:
        """As `reserve`, of one page."""
        self._bytes_in_flight += blob_bytes
        self._bytes_since_look += blob_bytes
        self._pages_in_flight += 1

    def release_page(self, blob_bytes: int) -> None:
        """As `release`, of one page."""
        self._bytes_in_flight -= blob_bytes
        self._pages_in_flight -= 1

    def release(self, change: ChunkChange) -> None:
        """Count a change as done; its answer has told the new totals."""
        self._bytes_in_flight -= change.blob_bytes
        self._pages_in_flight -= change.put_map.bit_count()

    async def look(self) -> None:
        """Look at the record and the totals, now; all who ask in one tick of the loop share one look."""
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.create_task(self._look_now())
            loop.call_soon(self._forget_look)
        await asyncio.shield(self._look)

    def _forget_look(self) -> None:
        self._look = None

    async def _look_now(self) -> None:
        self._bytes_since_look = self._bytes_in_flight
        await asyncio.gather(self._store.read_totals(is_partial=True), self._look_at_record_if_there())
        await self.set_gate(gate_after(self.gate, self._store.total_bytes, self.parameters))

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

    def room(self) -> Room:
        """What is left, for a script to admit page by page."""
        return room(self.gate, self.totals(), self.parameters)

    async def set_gate(self, gate: Gate) -> None:
        """Open or close the pool, for all workers, before anybody is answered by it."""
        if gate is not self.gate:
            self.gate = gate
            try:
                await self._record.write_full(is_full=gate is Gate.CLOSED)
            except BackendUnavailable:
                if not self._can_lack_record:
                    raise
            logger.info("the pool is %s", gate.value)
