"""A load or a store of one page without a coroutine: begun with a call, ended by whoever receives Redis's reply.

The answers are those of `Pages.load` and `Pages.store_page`, at a third of the cost. Whatever is not plain sailing (an
error reply, an absent page, a chunk that is not there yet, a pool near its limit) is left to the long way.

    begun = way.begin_store(type_, offset, page, receiver, now)     None: go the long way
    …the receiver gets a reply…
    way.end_store(begun, reply, seconds)                            False: nothing was changed, go the long way
"""

from __future__ import annotations

from typing import Final

from app.errors import PageCorrupt
from app.page.classify import Kind, zero_page
from app.page.codec import ENVELOPE_BYTES, ZERO_BLOB, EncodedPage, address_mix, digest_of, open_envelope
from app.pool.marks import Marks
from app.pool.state import PoolState
from app.store.chunk import LONG_BYTES, PRESENT_AT, ZERO_AT, kind_of_page
from app.store.connection import Receiver, Reply
from app.store.keys import CHUNK_SHIFT, INDEX_MASK
from app.store.redis import RedisStore
from app.store.single_pages import SinglePages
from app.telemetry import Telemetry
from app.telemetry_cells import DECODE_FAILURES, LOADS, STORES, RedisOperation, redis_series

_LOAD_SERIES: Final = redis_series(RedisOperation.LOAD)
_STORE_SERIES: Final = redis_series(RedisOperation.STORE)
_ZERO: Final = Kind.ZERO


BegunStore = tuple[EncodedPage, int]
"""A store on its way: the page, and the stripe that it goes to."""


class ShortWay:
    """The short way to the pages of one pool."""

    def __init__(self, store: RedisStore, state: PoolState, marks: Marks, telemetry: Telemetry, page_size: int) -> None:
        self._pages = SinglePages(store)
        self._state = state
        self._cells = telemetry.cells
        self._observe_many = telemetry.observe_many
        self._load_seconds: list[float] = []
        self._store_seconds: list[float] = []
        self._found = [0] * len(Kind)
        self._stored = [0] * len(Kind)
        store.nodes.after_replies.append(self._count)
        self._page_size = page_size
        self._largest_blob = page_size + ENVELOPE_BYTES
        zero = zero_page(page_size)
        self._zero = (zero, digest_of(zero), _ZERO)
        self.after_replies = store.nodes.after_replies
        """What is to be done when receivers have got their replies: once for all that came together."""
        self._policies = state.policies
        self._marks = marks
        self.expiring = state.expiring
        """Types whose pages expire: loads of them ask for times, too, the long way."""
        self.begin_load = self._pages.ask
        """Ask for a page: type, offset, who receives the reply, time.monotonic.

        Raises:
            BackendUnavailable, Overloaded: nothing was asked.
        """

    def end_load(self, type_: int, offset: int, reply: Reply, seconds: float) -> tuple[bytes, int, Kind] | None:
        """The page, its digest and its kind; None: go the long way, nothing was counted.

        Raises:
            PageCorrupt: what is kept failed its check.
        """
        if type(reply) is not list:
            return None
        field, blob = reply
        index = offset & INDEX_MASK
        # The map has to say that the page has a blob; that it is the right map, the blob's own check will show.
        if (
            blob is not None
            and field is not None
            and len(field) == LONG_BYTES
            and field[PRESENT_AT + (index >> 3)] & ~field[ZERO_AT + (index >> 3)] & 1 << (index & 7)
        ):
            try:
                page = open_envelope(blob, self._page_size, address_mix(type_, offset))
            except PageCorrupt:
                self._cells[DECODE_FAILURES] += 1
                raise
        elif kind_of_page(field, type_, offset >> CHUNK_SHIFT, index) is _ZERO:
            page = self._zero
        else:
            return None
        if type_ in self._policies:
            self._marks.add(type_, offset >> CHUNK_SHIFT, 1 << index)
        self._load_seconds.append(seconds)
        self._found[page[2]] += 1
        return page

    def begin_store(self, type_: int, offset: int, page: bytes, receiver: Receiver, now: float) -> BegunStore | None:
        """Send a page of exactly `page_size` bytes; None: go the long way, nothing was sent.

        Raises:
            BackendUnavailable, Overloaded: nothing was sent.
        """
        state = self._state
        if type_ in state.policies or not state.surely_fits(self._largest_blob):
            return None
        encoded = state.encoder.encode(page, type_, offset)
        kind, _, blob = encoded
        blob = blob or ZERO_BLOB
        stripe = self._pages.put(type_, offset, kind, blob, receiver, now)
        state.reserve_page(len(blob))
        return encoded, stripe

    def end_store(self, begun: BegunStore, reply: Reply, seconds: float) -> bool:
        """Whether the page was stored; if not, nothing was changed."""
        (kind, _, blob), stripe = begun
        self._state.release_page(len(blob or ZERO_BLOB))
        if not self._pages.is_done(stripe, reply):
            return False
        self._store_seconds.append(seconds)
        self._stored[kind] += 1
        return True

    def fail_store(self, begun: BegunStore) -> None:
        """No reply will come."""
        self._state.release_page(begun[0].stored_length)

    def _count(self) -> None:
        """Count what ended with the replies that have just come; a cell in shared memory costs more than a list."""
        if self._load_seconds:
            self._observe_many(_LOAD_SERIES, self._load_seconds)
            self._load_seconds.clear()
            self._add(LOADS, self._found)
        if self._store_seconds:
            self._observe_many(_STORE_SERIES, self._store_seconds)
            self._store_seconds.clear()
            self._add(STORES, self._stored)

    def _add(self, series: int, counts: list[int]) -> None:
        for kind in Kind:
            if counts[kind]:
                self._cells[series + kind] += counts[kind]
                counts[kind] = 0
