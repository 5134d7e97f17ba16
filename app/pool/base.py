"""What every part of the pool stands on."""

from __future__ import annotations

from typing import NamedTuple

from app.page.classify import Kind, zero_page
from app.page.codec import digest_of
from app.pool.parameters import Parameters
from app.pool.short_way import ShortWay
from app.pool.state import PoolState
from app.pool.stores import Stores
from app.settings import Settings
from app.store.record import PoolRecord
from app.store.redis import RedisStore
from app.telemetry import Telemetry


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
        self._stores = Stores(store, state, telemetry)
        self.short_way = ShortWay(store, state, telemetry, settings.page_size)
        zero = zero_page(settings.page_size)
        self._zero_page = Page(zero, digest_of(zero), Kind.ZERO, 0)

    @property
    def parameters(self) -> Parameters:
        """The run-time tunables of now."""
        return self._state.parameters
