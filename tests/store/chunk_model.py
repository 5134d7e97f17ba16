"""What change_chunk.lua does, said page by page in Python: the judge of its tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from app.page.codec import Encoder
from app.settings import CompressorName
from tests.faults.recount import KINDS
from tests.harness import pages

PAGE_SIZE = 4096
Address = tuple[int, int]


@cache
def blob_of(type_: int, offset: int, kind: str, seed: int) -> bytes:
    """The blob of one of a few pages of a kind, at an address; empty for a zero page."""
    page = {
        "zero": pages.zero(),
        "same": pages.same(bytes([seed + 1] * 3 + [7] * 5)),
        "compressed": pages.compressible(seed),
        "raw": pages.incompressible(seed),
    }[kind]
    encoded = Encoder(PAGE_SIZE, CompressorName.LZ4).encode_extent(page, type_, offset)
    assert KINDS[encoded.kinds[0]] == kind
    return bytes(encoded.blobs[0])


@dataclass
class Order:
    """One change of a chunk, by index; `puts` gives kind and seed."""

    type: int
    chunk: int
    puts: dict[int, tuple[str, int]]
    drops: frozenset[int] = frozenset()
    expected: bytes = b""
    headroom: float | None = None
    """With it the script admits page by page."""
    reopen: float = float("inf")
    page_room: float = float("inf")
    is_closed: bool = False
    refuse: bool = False
    keep: bool = False
    is_late: bool = False
    is_lost: bool = False
    lacks_memory: bool = False

    def offset(self, index: int) -> int:
        """The page's offset in its type."""
        return self.chunk * 64 + index

    def blob(self, index: int) -> bytes:
        """The blob that is put at an index."""
        return blob_of(self.type, self.offset(index), *self.puts[index])

    @property
    def is_exact(self) -> bool:
        """Whether the script decides page by page."""
        return self.headroom is not None or self.refuse


@dataclass
class Outcome:
    """What the script must answer."""

    status: int
    dropped: int = 0
    closed: bool = False
    limit_hits: int = 0
    refused_for_bytes: int = 0
    refused_for_pages: int = 0


LACKS_MEMORY = -1


@dataclass
class PoolModel:
    """Kind and blob of every page that is held."""

    held: dict[Address, tuple[str, bytes]] = field(default_factory=dict)

    def state(self, type_: int, offset: int) -> bytes:
        """A page's state as a change can expect it."""
        page = self.held.get((type_, offset))
        if page is None:
            return b"a"
        return b"z" if page[0] == "zero" else page[1][1:9]

    def has_chunk(self, type_: int, chunk: int) -> bool:
        """Whether any page of a chunk is held."""
        return any(held[0] == type_ and held[1] // 64 == chunk for held in self.held)

    def has_blob(self, type_: int, offset: int) -> bool:
        """Whether a page is held that is not zero."""
        return (type_, offset) in self.held and self.held[type_, offset][0] != "zero"

    def apply(self, order: Order) -> Outcome:
        """Do it; nothing changes unless the status is 0."""
        if order.is_late:
            return Outcome(1)
        if order.is_lost:
            return Outcome(2)
        touched = sorted({*order.puts, *order.drops})
        if order.expected and self.state(order.type, order.offset(touched[0])) != order.expected:
            return Outcome(3)
        after = dict(self.held)
        outcome = self._admit(order, touched, after)
        puts_blob = any(
            order.puts[index][0] != "zero" and not (outcome.refused_for_bytes | outcome.refused_for_pages) >> index & 1
            for index in order.puts
        )
        if order.lacks_memory and puts_blob:
            return Outcome(LACKS_MEMORY)
        self.held = after
        return outcome

    def _admit(self, order: Order, touched: list[int], after: dict[Address, tuple[str, bytes]]) -> Outcome:
        outcome = Outcome(0, closed=order.is_closed)
        bytes_, pages_ = 0, 0
        for index in touched:
            address = order.type, order.offset(index)
            old = after.get(address)
            old_bytes = len(old[1]) if old else 0
            if index in order.puts:
                reason = self._refusal(order, outcome, index, old is None, bytes_, pages_) if order.is_exact else None
                if reason is None:
                    after[address] = order.puts[index][0], order.blob(index)
                    bytes_ += len(order.blob(index)) - old_bytes
                    pages_ += old is None
                    continue
                setattr(outcome, reason, getattr(outcome, reason) | 1 << index)
                if order.keep:
                    continue
            if old is not None:
                del after[address]
                outcome.dropped += 1
                bytes_ -= old_bytes
                pages_ -= 1
        return outcome

    @staticmethod
    def _refusal(order: Order, outcome: Outcome, index: int, is_new: bool, bytes_: int, pages_: int) -> str | None:
        if is_new and pages_ >= order.page_room:
            return "refused_for_pages"
        if order.puts[index][0] == "zero":
            return None
        if order.refuse:
            return "refused_for_bytes"
        assert order.headroom is not None
        if bytes_ >= order.headroom:
            outcome.limit_hits += 1
            outcome.closed = True
        elif outcome.closed and bytes_ <= order.reopen:
            outcome.closed = False
        return "refused_for_bytes" if outcome.closed else None

    def totals(self, addresses: list[Address]) -> tuple[int, int]:
        """Pages and bytes of those addresses."""
        held = [self.held[address] for address in addresses if address in self.held]
        return len(held), sum(len(blob) for _, blob in held)
