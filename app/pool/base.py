"""What every part of the pool stands on."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from app.errors import BackendUnavailable
from app.page.classify import Kind, zero_page
from app.page.codec import digest_of
from app.pool.marks import Marks
from app.pool.parameters import Parameters
from app.pool.short_way import ShortWay
from app.pool.shrinker import Shrinker
from app.pool.slices import Slices
from app.pool.state import PoolState
from app.pool.stores import Stores
from app.settings import Settings
from app.store.reclaim import Reclaim
from app.store.record import PoolRecord
from app.store.redis import RedisStore
from app.telemetry import Telemetry
from app.telemetry_cells import UNREAD

_POLL_SECONDS: Final = 0.005


class Page(NamedTuple):
    """A page that was loaded and checked."""

    data: bytes
    digest: int
    kind: Kind
    stored_length: int


class PoolBase:
    """The store, the state and the counters of one pool, as this worker holds them."""

    def __init__(
        self,
        settings: Settings,
        store: RedisStore,
        record: PoolRecord,
        state: PoolState,
        telemetry: Telemetry,
    ) -> None:
        self.page_size = settings.page_size
        self.max_extent_pages = settings.max_extent_pages
        self._settings = settings
        self._store = store
        self._record = record
        self._state = state
        self._telemetry = telemetry
        self._cells = telemetry.cells
        self._observe = telemetry.observe
        self._reclaim = Reclaim(store)
        self._marks = Marks(self._reclaim)
        self._shrinker = Shrinker(store, state, self._reclaim)
        self._stores = Stores(store, state, self._shrinker, telemetry)
        self.short_way = ShortWay(store, state, self._marks, telemetry, settings.page_size)
        self._slices = Slices(settings.page_size)
        zero = zero_page(settings.page_size)
        self._zero_page = Page(zero, digest_of(zero), Kind.ZERO, 0)

    @property
    def parameters(self) -> Parameters:
        """The run-time tunables of now."""
        return self._state.parameters

    async def work(self) -> None:
        """What goes on beside the requests, for as long as the worker lives: marks are written, and room is made."""
        await asyncio.gather(self._marks.keep_writing(), self._shrinker.work())

    async def _followed(self, cell: int, version: int) -> None:
        """Wait until no worker of this service is behind a version; one that starts reads it before it serves.

        Raises:
            BackendUnavailable: one did not follow in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.redis_timeout
        while any(UNREAD < theirs < version for theirs in self._telemetry.column(cell)):
            if loop.time() > deadline:
                raise BackendUnavailable("A worker has not taken the change over.")
            await asyncio.sleep(_POLL_SECONDS)
