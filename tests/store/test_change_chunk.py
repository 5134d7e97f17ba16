"""The scripts that change chunks against a model in Python: replies, pages, every counter and every index."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.page.classify import Kind
from app.store.chunk import check_word, in_fields
from app.store.keys import KeySchema
from app.store.put_pages import DEADLINE, MOST_PAGES, Puts, sorted_puts
from app.store.redis import unpack_counters
from app.store.script_header import ChunkChange, Room, pack_header
from app.store.scripts import CHANGE_CHUNK, PUT_CHUNK, PUT_PAGES
from app.store.whole_chunk import COMMANDS, SCRIPT_AT, is_whole, transaction
from tests.faults.recount import KINDS, recount
from tests.harness.redis_server import RedisServer
from tests.store.chunk_model import LACKS_MEMORY, Order, Outcome, PoolModel, blob_of

NAMESPACE = "script"
UUID = b"a" * 32
KEYS = KeySchema(NAMESPACE, 2)
LOW_WORD = 0xFFFF_FFFF
LATE, LOST = 1, 2


class Pool:
    """A pool of two stripes, and the script on it."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def clear(self) -> None:
        """An empty pool."""
        self.client.flushall()
        for key in KEYS.stripe_keys:
            self.client.hset(key, "id", UUID)

    @staticmethod
    def change(order: Order) -> ChunkChange:
        """The change that an order asks for."""
        change = ChunkChange(order.type, order.chunk, expected=order.expected)
        blobs: list[bytes] = []
        for index, (kind, _) in sorted(order.puts.items()):
            blob = order.blob(index)
            blobs += map(bytes, in_fields(blob)) if kind == "raw" else [blob] * (kind != "zero")
        change.blobs, change.blob_bytes = blobs, sum(map(len, blobs))
        change.drop_map = sum(1 << index for index in order.drops)
        for index, (kind, _) in order.puts.items():
            for name in ["zero_map"] if kind == "zero" else ["blob_map", *([f"{kind}_map"] * (kind != "compressed"))]:
                setattr(change, name, getattr(change, name) | 1 << index)
        return change

    def run(self, order: Order) -> tuple[Outcome, tuple[int, int]]:
        """Run the script; its answer, and the stripe's pages and bytes that it tells."""
        change = self.change(order)
        room = None
        if order.headroom is not None:
            room = Room(order.headroom, order.reopen, order.page_room, order.is_closed)
        header = pack_header(
            change,
            deadline=0.0 if order.is_late else (time.time() + 60) * 1e6,
            check=check_word(order.type, order.chunk),
            place=order.chunk % 64,
            room=room,
            refuse=order.refuse,
            keep=order.keep,
        )
        stripe = KEYS.stripe_of(order.type, order.chunk)
        try:
            reply = self.client.eval(
                CHANGE_CHUNK.text,
                5,
                KEYS.chunk(stripe, order.type, order.chunk),
                KEYS.stripe_keys[stripe],
                KEYS.runs(stripe, order.type),
                KEYS.maps(stripe, order.type),
                KEYS.types_keys[stripe],
                header,
                b"another" if order.is_lost else UUID,
                order.type,
                order.chunk // 64,
                order.expected,
                *change.blobs,
            )
        except redis.exceptions.OutOfMemoryError:
            return Outcome(LACKS_MEMORY), (0, 0)
        if reply[0]:
            return Outcome(reply[0]), (0, 0)
        _, pages_, bytes_, dropped, *rest = reply
        if not rest:
            return Outcome(0, dropped), (pages_, bytes_)
        closed, hits, *words = rest
        maps = [(high & LOW_WORD) << 32 | low & LOW_WORD for low, high in (words[:2], words[2:])]
        return Outcome(0, dropped, bool(closed), hits, *maps), (pages_, bytes_)


def put_pages(client: redis.Redis, puts: Puts, *, is_late: bool = False, is_lost: bool = False) -> Any:
    """Run put_pages.lua with its command as it goes out; its reply, error replies as values."""
    client.script_load(PUT_PAGES.text)
    deadline = DEADLINE.pack(0.0 if is_late else (time.time() + 60) * 1e6)
    command = puts.command(KEYS.stripe_keys[puts.stripe], b"another" if is_lost else UUID, deadline)
    [reply] = replies_of(client, command, 1)
    return reply


def replies_of(client: redis.Redis, commands: bytes, count: int) -> list[Any]:
    """What Redis answers to packed commands, error replies as values."""
    connection = client.connection_pool.get_connection()
    replies: list[Any] = []
    try:
        connection.send_packed_command([commands], check_health=False)
        for _ in range(count):
            try:
                replies.append(connection.read_response(disable_decoding=True))
            except redis.exceptions.ResponseError as error:
                replies.append(error)
    finally:
        client.connection_pool.release(connection)
    return replies


class PoolOfPutPages(Pool):
    """Puts of one page try put_pages.lua first, as the short way does; change_chunk.lua does what that leaves."""

    def run(self, order: Order) -> tuple[Outcome, tuple[int, int]]:
        """Run the one script, or both."""
        if len(order.puts) != 1 or order.drops or order.expected or order.is_exact:
            return super().run(order)
        [(index, (kind, _))] = order.puts.items()
        put = (order.type, order.offset(index), Kind(KINDS.index(kind)), order.blob(index), None)
        [puts] = sorted_puts([put], KEYS)
        reply = put_pages(self.client, puts, is_late=order.is_late, is_lost=order.is_lost)
        if isinstance(reply, redis.exceptions.OutOfMemoryError):
            return Outcome(LACKS_MEMORY), (0, 0)
        if isinstance(reply, int) and reply in {LATE, LOST}:
            return Outcome(reply), (0, 0)
        if 0 in puts.left_by(reply):
            return super().run(order)
        counters = unpack_counters(self.client.hget(KEYS.stripe_keys[puts.stripe], "n"))
        if isinstance(reply, list):
            assert reply[:2] == [counters.pages, counters.bytes]
        return Outcome(0), (counters.pages, counters.bytes)


class PoolOfWholeChunks(Pool):
    """Whole chunks go in a transaction, as they come; change_chunk.lua does what that leaves."""

    def run(self, order: Order) -> tuple[Outcome, tuple[int, int]]:
        """Run the one script, or the other where Redis will not begin."""
        change = self.change(order)
        if order.is_exact or not is_whole(change):
            return super().run(order)
        self.client.script_load(PUT_CHUNK.text)
        stripe = KEYS.stripe_of(order.type, order.chunk)
        keys = (KEYS.chunk(stripe, order.type, order.chunk), *KEYS.beside_chunks(stripe, order.type))
        deadline = 0.0 if order.is_late else (time.time() + 60) * 1e6
        pieces = transaction(change, keys, b"another" if order.is_lost else UUID, deadline)
        replies = replies_of(self.client, b"".join(pieces), COMMANDS)
        assert not self.client.exists(keys[0] + b":new")
        if isinstance(replies[-1], redis.exceptions.ResponseError):
            assert order.lacks_memory
            return super().run(order)
        status, *rest = replies[-1][SCRIPT_AT]
        return (Outcome(status, rest[2]), (rest[0], rest[1])) if status == 0 else (Outcome(status), (0, 0))


@pytest.fixture(params=[Pool, PoolOfPutPages, PoolOfWholeChunks])
def pool(server: RedisServer, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """An empty pool on each version of Redis, changed by one script or by two."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        pool = request.param(client)
        pool.clear()
        yield pool
        client.config_set("maxmemory", 0)


indexes = st.sampled_from([0, 1, 2, 30, 31, 32, 33, 62, 63])
page_kinds = st.tuples(st.sampled_from(["zero", "same", "compressed", "raw"]), st.integers(0, 2))
amounts = st.one_of(st.just(float("inf")), st.integers(-5000, 20_000).map(float))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """A change of one of a few chunks, so that changes meet."""
    order = Order(
        draw(st.sampled_from([1, 2])),
        draw(st.sampled_from([0, 1, 31, 63, 64, 200])),
        draw(st.dictionaries(indexes, page_kinds, max_size=6)),
        is_late=draw(st.integers(0, 19)) == 0,
        is_lost=draw(st.integers(0, 19)) == 0,
        lacks_memory=draw(st.integers(0, 4)) == 0,
    )
    if draw(st.integers(0, 3)) == 0:
        kinds = draw(st.lists(page_kinds, min_size=1, max_size=5))
        order.puts = {index: kinds[index % len(kinds)] for index in range(64)}
    elif draw(st.booleans()) or not order.puts:
        order.drops = frozenset(draw(st.sets(indexes, min_size=1, max_size=6)) - {*order.puts}) or frozenset({5})
    mode = draw(st.sampled_from(["plain", "exact", "refuse"]))
    if mode != "plain":
        order.headroom, order.reopen = draw(amounts), draw(amounts)
        order.page_room = draw(st.sampled_from([float("inf"), -1.0, 0.0, 1.0, 2.0]))
        order.is_closed = draw(st.booleans())
        order.refuse = mode == "refuse"
        order.keep = draw(st.booleans())
    return order


conditions = st.sampled_from(["", "", "", "as it is", "absent", "zero", "another"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(orders(), conditions), min_size=1, max_size=25))
def test_script_does_what_the_model_does(pool: Pool, steps: list[tuple[Order, str]]) -> None:
    """Every answer, page, counter and index is the model's, whatever came before, with and without memory."""
    pool.clear()
    model = PoolModel()
    lacks_memory = False
    for order, condition in steps:
        if condition and len({*order.puts, *order.drops}) == 1:
            [index] = {*order.puts, *order.drops}
            states = {"as it is": model.state(order.type, order.offset(index)), "absent": b"a", "zero": b"z"}
            order.expected = states.get(condition, b"\x01" * 8)
        if order.lacks_memory != lacks_memory:
            lacks_memory = order.lacks_memory
            pool.client.config_set("maxmemory", int(lacks_memory))
        outcome, stripe = pool.run(order)
        assert outcome == model.apply(order)
        if outcome.status == 0:
            home = KEYS.stripe_of(order.type, order.chunk)
            addresses = [key for key in model.held if KEYS.stripe_of(key[0], key[1] // 64) == home]
            assert stripe == model.totals(addresses)
    pool.client.config_set("maxmemory", 0)
    counted = recount(pool.client, NAMESPACE)
    assert not counted.differences
    assert not counted.corrupt
    assert counted.pages == model.held


def test_a_whole_chunk_of_each_kind(pool: Pool) -> None:
    """All 64 pages of a chunk at once, in each kind over each other, and none left in the end."""
    model = PoolModel()
    for kind in ("raw", "zero", "compressed", "same", "raw", "zero"):
        order = Order(3, 7, {index: (kind, index % 3) for index in range(64)})
        assert pool.run(order)[0] == model.apply(order)
        counted = recount(pool.client, NAMESPACE)
        assert (counted.differences, counted.pages) == ([], model.held)
    order = Order(3, 7, {}, frozenset(range(64)))
    assert pool.run(order)[0].dropped == 64
    assert {key[: len(NAMESPACE) + 3] for key in pool.client.scan_iter()} == {b"script:s:"}


def test_zero_pages_leave_a_small_hash(pool: Pool) -> None:
    """A chunk whose last blob went is a listpack again: a hash never shrinks back by itself."""
    pool.run(Order(1, 0, dict.fromkeys(range(64), ("raw", 0))))
    pool.run(Order(1, 0, dict.fromkeys(range(64), ("zero", 0))))
    key = KEYS.chunk(KEYS.stripe_of(1, 0), 1, 0)
    assert pool.client.object("encoding", key) == b"listpack"
    assert pool.client.hkeys(key) == [b"m"]


def test_without_memory_nothing_is_half_done(pool: Pool) -> None:
    """A store that Redis refuses for lack of memory changes nothing; what frees memory goes on."""
    model = PoolModel()
    for order in (Order(1, 0, {0: ("raw", 0), 1: ("zero", 0)}), Order(1, 1, {5: ("same", 0)})):
        assert pool.run(order)[0] == model.apply(order)
    pool.client.config_set("maxmemory", 1)
    for order in (
        Order(1, 0, {0: ("raw", 1), 1: ("raw", 2)}, lacks_memory=True),
        Order(9, 0, {0: ("raw", 1)}, lacks_memory=True),
        Order(1, 0, {0: ("raw", 1), 1: ("zero", 0)}, lacks_memory=True, refuse=True),
        Order(9, 0, {0: ("zero", 0)}, lacks_memory=True),
        Order(1, 1, {}, frozenset({5}), lacks_memory=True),
    ):
        assert pool.run(order)[0] == model.apply(order)
        counted = recount(pool.client, NAMESPACE)
        assert (counted.differences, counted.pages) == ([], model.held)


many_pages = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.sampled_from([0, 1, 31, 63, 64, 65, 66, 127, 200 * 64]),
        st.sampled_from(["zero", "same", "compressed", "raw"]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=many_pages, then=many_pages, lacks_memory=st.booleans())
def test_many_pages_at_once(server: RedisServer, there: Any, then: Any, lacks_memory: bool) -> None:
    """Pages of several chunks, put together: each is put or left alone as if it came by itself, and all is counted."""
    with server.client() as client:
        client.config_set("maxmemory", 0)
        pool, model = Pool(client), PoolModel()
        pool.clear()
        for type_, offset, kind, seed in there:
            order = Order(type_, offset // 64, {offset % 64: (kind, seed)})
            assert pool.run(order)[0] == model.apply(order)
        client.config_set("maxmemory", int(lacks_memory))
        puts = [
            (type_, offset, Kind(KINDS.index(kind)), blob_of(type_, offset, kind, seed), seed)
            for type_, offset, kind, seed in then
        ]
        for script in sorted_puts(puts, KEYS):
            reply = put_pages(client, script)
            left = script.left_by(reply)
            is_refused = isinstance(reply, redis.exceptions.OutOfMemoryError)
            assert is_refused is (lacks_memory and any(put[3] for put in script.puts) and _has_place(model, script))
            for number, (type_, offset, kind, _, seed) in enumerate(script.puts):
                order = Order(type_, offset // 64, {offset % 64: (KINDS[kind], seed)})
                fits = model.has_chunk(type_, offset // 64) and (kind != Kind.ZERO or not model.has_blob(type_, offset))
                assert (number in left) is (is_refused or not fits)
                if number not in left:
                    model.apply(order)
            if isinstance(reply, list):
                assert tuple(reply[:2]) == model.totals(
                    [key for key in model.held if KEYS.stripe_of(key[0], key[1] // 64) == script.stripe]
                )
        client.config_set("maxmemory", 0)
        counted = recount(client, NAMESPACE)
        assert (counted.differences, counted.corrupt, counted.pages) == ([], [], model.held)


def _has_place(model: PoolModel, script: Puts) -> bool:
    """Whether any of the pages has a chunk, so that something would be written."""
    return any(model.has_chunk(put[0], put[1] // 64) for put in script.puts)


def test_more_pages_than_a_script_takes() -> None:
    """They are several scripts, so that every page's number fits the byte that a reply has for it."""
    puts = [(1, offset, Kind.RAW, b"blob", None) for offset in range(300)]
    scripts = sorted_puts(puts, KEYS)
    assert [put for script in scripts for put in script.puts] == puts
    for script in scripts:
        assert len(script.puts) <= MOST_PAGES
        for reply in (0, [300, 1200, b""], [300, 1200, b"\x01"], 4):
            left = script.left_by(reply)
            assert [number for number in range(len(script.puts)) if number in left] == (
                [1] if isinstance(reply, list) and reply[2] else [*range(len(script.puts))] if reply == 4 else []
            )
