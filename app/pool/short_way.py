"""Loads and stores of single pages without a coroutine: begun together, answered as Redis's replies come.

The answers are those of `Pages.load` and `Pages.store_page`, at a fraction of the cost. Whatever is not plain sailing
(an error reply, an absent page, a chunk that is not there yet, a pool near its limit) is left to the long way.

    asked = [(type, offset, b"" or the page, who asks), …]
    way.load(asked, answer, now)                      …answer(some that were asked, what was found for each)
    way.store(asked, answer, now)

`answer` is called as often as replies come, and must not raise anything. `now` is time.monotonic.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from hiredis import ReplyError

from app.errors import PageCorrupt
from app.page.classify import Kind, zero_page
from app.page.codec import ENVELOPE_BYTES, ZERO_BLOB, EncodedPage, address_mix, digest_of, open_envelope
from app.pool.marks import Marks
from app.pool.state import PoolState
from app.store.batch import Batch, DealWith, Item, Outcome
from app.store.chunk import LONG_BYTES, PRESENT_AT, ZERO_AT, kind_of_page
from app.store.keys import CHUNK_SHIFT, INDEX_MASK
from app.store.put_pages import Put, Puts
from app.store.redis import RedisStore
from app.store.single_pages import Ask, SinglePages
from app.telemetry import Telemetry
from app.telemetry_cells import DECODE_FAILURES, LOADS, STORES, RedisOperation, redis_series

_LOAD_SERIES: Final = redis_series(RedisOperation.LOAD)
_STORE_SERIES: Final = redis_series(RedisOperation.STORE)
_ZERO: Final = Kind.ZERO


@dataclass(frozen=True, slots=True)
class Begun:
    """A store that was sent and changed nothing: it goes on the long way."""

    page: EncodedPage
    sent_at: float


Found = tuple[bytes, int, Kind] | Begun | BaseException | None
"""The page (b"" where it was stored), its digest and its kind; None: go the long way, nothing was sent or counted; or
what was in the way (PageCorrupt: what is kept failed its check; BackendUnavailable, Overloaded)."""

Answer = Callable[[Sequence[Ask], Sequence[Found]], None]


class ShortWay:
    """The short way to the pages of one pool."""

    def __init__(self, store: RedisStore, state: PoolState, marks: Marks, telemetry: Telemetry, page_size: int) -> None:
        self._pages = SinglePages(store)
        self._state = state
        self._marks = marks
        self._cells = telemetry.cells
        self._observe_many = telemetry.observe_many
        self._page_size = page_size
        self._largest_blob = page_size + ENVELOPE_BYTES
        zero = zero_page(page_size)
        self._zero = (zero, digest_of(zero), _ZERO)
        self._under_way: dict[Batch[Any], None] = {}  # in the order of sending: the newest totals are learnt last
        self.expiring = state.expiring
        """Types whose pages expire: loads of them ask for times, too, the long way."""
        store.nodes.after_replies.append(self._deal)

    def _deal(self) -> None:
        """Replies have come: hand them on."""
        for batch in tuple(self._under_way):
            batch.deal()

    def _batch(self, items: Sequence[Item], now: float, deal_with: DealWith[Item]) -> Batch[Item]:
        batch = Batch(items, now, deal_with, self._under_way.pop)
        self._under_way[batch] = None
        return batch

    # Loads

    def load(self, asked: Sequence[Ask], answer: Answer, now: float) -> None:
        """Load pages."""

        def deal_with(asked: Sequence[Ask], replies: Sequence[Outcome]) -> None:
            answer(asked, self._decode(asked, replies, now))

        self._pages.ask(asked, lambda asked: self._batch(asked, now, deal_with))

    def _decode(self, asked: Sequence[Ask], replies: Sequence[Outcome], sent_at: float) -> list[Found]:
        page_size, policies = self._page_size, self._state.policies
        found: list[Found] = []
        counts = [0] * len(Kind)
        for (type_, offset, _, _), reply in zip(asked, replies, strict=True):
            page: Found = None
            try:
                if type(reply) is list:
                    field, blob, rest = reply
                    if rest is not None and blob is not None:
                        blob += rest
                    index = offset & INDEX_MASK
                    # The map has to say that there is a blob; that it is the right map, the blob's check will show.
                    if (
                        blob is not None
                        and field is not None
                        and len(field) == LONG_BYTES
                        and field[PRESENT_AT + (index >> 3)] & ~field[ZERO_AT + (index >> 3)] & 1 << (index & 7)
                    ):
                        page = open_envelope(blob, page_size, address_mix(type_, offset))
                        counts[page[2]] += 1
                    elif kind_of_page(field, type_, offset >> CHUNK_SHIFT, index) is _ZERO:
                        page = self._zero
                        counts[_ZERO] += 1
                    if type_ in policies and page is not None:
                        self._marks.add(type_, offset >> CHUNK_SHIFT, 1 << index)
                elif isinstance(reply, BaseException) and not isinstance(reply, ReplyError):
                    page = reply
            except PageCorrupt as error:
                self._cells[DECODE_FAILURES] += 1
                page = error
            except Exception as error:  # noqa: BLE001  not to be seen by Redis's connection; who answers logs it
                page = error
            found.append(page)
        self._count(_LOAD_SERIES, LOADS, counts, monotonic() - sent_at)
        return found

    # Stores

    def store(self, asked: Sequence[Ask], answer: Answer, now: float) -> None:
        """Store pages."""
        state = self._state
        if not state.surely_fits(len(asked) * self._largest_blob, len(asked)):
            answer(asked, [None] * len(asked))
            return
        governed: Sequence[Ask] = ()
        if state.policies and (governed := [ask for ask in asked if ask[0] in state.policies]):
            asked = [ask for ask in asked if ask[0] not in state.policies]
        encode = state.encoder.encode
        puts: list[Put] = []
        new_bytes = 0
        for ask in asked:
            type_, offset, page, _ = ask
            encoded = encode(page, type_, offset)
            blob = encoded.blob or ZERO_BLOB
            new_bytes += len(blob)
            puts.append((type_, offset, encoded.kind, blob, (ask, encoded)))

        def deal_with(scripts: Sequence[Puts], replies: Sequence[Outcome]) -> None:
            asked = [put[-1][0] for script in scripts for put in script.puts]
            answer(asked, self._settle(scripts, replies, now))

        if puts:
            state.reserve_pages(len(puts), new_bytes)
            self._pages.put(puts, lambda scripts: self._batch(scripts, now, deal_with))
        if governed:
            answer(governed, [None] * len(governed))

    def _settle(self, scripts: Sequence[Puts], replies: Sequence[Outcome], sent_at: float) -> list[Found]:
        stored: list[Found] = []
        counts = [0] * len(Kind)
        bytes_ = 0
        for script, reply in zip(scripts, replies, strict=True):
            error = reply if isinstance(reply, BaseException) and not isinstance(reply, ReplyError) else None
            left: Container[int] = range(len(script.puts))
            try:
                left = self._pages.left_by(script, reply)
            except Exception as unforeseen:  # noqa: BLE001  as above
                error = unforeseen
            for number, (_, _, kind, blob, (_, encoded)) in enumerate(script.puts):
                bytes_ += len(blob)
                if number not in left:
                    counts[kind] += 1
                    stored.append((b"", encoded.digest, kind))
                else:
                    stored.append(error or Begun(encoded, sent_at))
        self._state.release_pages(len(stored), bytes_)
        self._count(_STORE_SERIES, STORES, counts, monotonic() - sent_at)
        return stored

    def _count(self, series: int, first_cell: int, counts: Sequence[int], seconds: float) -> None:
        """Count what ended together."""
        if any(counts):
            self._observe_many(series, seconds, sum(counts))
        for kind in Kind:
            if counts[kind]:
                self._cells[first_cell + kind] += counts[kind]
