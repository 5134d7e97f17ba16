from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pagepool_client import (
    NO_RETRIES,
    AsyncClient,
    BrokenAnswer,
    Client,
    NoAnswer,
    NotReachable,
    PageCounts,
    PageMissing,
    Run,
    etag_of,
)

from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService

ZERO = bytes(PAGE_SIZE)
ALL_VALUES = bytes(range(256)) * (PAGE_SIZE // 256)
SAME = b"\xff\x80\x00\x01abcd" * (PAGE_SIZE // 8)


def test_store_and_load(pool: Client, area: int) -> None:
    """A page comes back as it went, with all byte values; its ETag is its digest."""
    stored = pool.store(area, 42, ALL_VALUES)
    assert (stored.counts, stored.etag) == (PageCounts(compressed=1), etag_of(ALL_VALUES))
    assert pool.load(area, 42) == ALL_VALUES
    head = pool.head(area, 42)
    assert (head.kind, head.etag) == ("compressed", stored.etag)
    assert 0 < head.stored_length < PAGE_SIZE


def test_load_if_changed(pool: Client, area: int) -> None:
    """A page that still has its ETag is not sent again."""
    pool.store(area, 0, ALL_VALUES)
    assert pool.load_if_changed(area, 0, etag_of(ALL_VALUES)) is None
    assert pool.load_if_changed(area, 0, etag_of(SAME)) == ALL_VALUES


def test_take_and_invalidate(pool: Client, area: int) -> None:
    """Take hands a page out once; invalidate says how many pages were there."""
    pool.store_extent(area, 0, ALL_VALUES * 4)
    assert pool.take(area, 0) == ALL_VALUES
    with pytest.raises(PageMissing):
        pool.take(area, 0)
    assert pool.invalidate(area, 0) == 0
    assert pool.invalidate(area, 1, if_match=etag_of(ALL_VALUES)) == 1
    assert pool.invalidate(area, 0, 4) == 2


def test_extents(pool: Client, area: int) -> None:
    """An extent is stored and loaded whole; absent pages read as zeros where that is asked for."""
    assert pool.store_extent(area, 5, SAME + ZERO + ALL_VALUES).counts == PageCounts(zero=1, same=1, compressed=1)
    assert pool.load_extent(area, 5, 3) == SAME + ZERO + ALL_VALUES
    assert pool.load_extent(area, 4, 2, missing="zero") == ZERO + SAME
    assert pool.zero_many(area, [(100, 3)]) == 3
    assert pool.load_extent(area, 100, 3) == ZERO * 3
    assert pool.invalidate_many(area, [(0, 50), (101, 1)]) == 4


@pytest.mark.parametrize("lz4", [True, False])
def test_frames(pool: Client, area: int, mixed_pages: bytes, lz4: bool) -> None:
    """Frames carry every kind of page, with and without LZ4, and tell absent pages apart."""
    data = mixed_pages[: 300 * PAGE_SIZE]
    counts = pool.store_frames(area, 10, data, lz4=lz4).counts
    assert counts.pages == 300
    loaded = pool.load_frames(area, 9, 302, lz4=lz4)
    assert loaded.missing == [(9, 1), (310, 1)]
    assert loaded.corrupt == []
    assert b"".join(page for _, page in loaded.pages()) == data
    assert pool.load_extent(area, 10, 300) == data


def test_load_many(pool: Client, area: int) -> None:
    """Scattered extents come in one answer, each page once, however often it was asked for."""
    for offset, page in ((3, SAME), (4, ZERO), (900, ALL_VALUES)):
        pool.store(area, offset, page)
    loaded = pool.load_many(area, [(900, 1), (3, 2), (4, 3)])
    assert dict(loaded.pages()) == {3: SAME, 4: ZERO, 900: ALL_VALUES}
    assert loaded.missing == [(5, 2)]


def test_types_and_maps(pool: Client, area: int) -> None:
    """A type can be configured, listed, mapped and deleted."""
    pool.configure_type(area, image_bytes=3 * PAGE_SIZE)
    pool.store_extent(area, 1, ZERO + SAME)
    assert pool.type(area)["stored_pages"] == 2
    assert area in [type_["type"] for type_ in pool.types()]
    assert list(pool.allocation_runs(area, 0, 4)) == [
        Run(0, 1, "hole"), Run(1, 1, "zero"), Run(2, 1, "data"), Run(3, 1, "hole"),
    ]  # fmt: skip
    (cell,) = pool.cell_map(area, 0, 8, 1)
    assert (cell.zero, cell.same, cell.held) == (1, 1, 2)
    pool.delete_type(area)
    assert area not in [type_["type"] for type_ in pool.types()]


def test_parameters_and_numbers(pool: Client) -> None:
    """Tunables can be read and changed; the pool tells its layout, readiness and metrics."""
    before = pool.parameters()["compressor"]
    assert pool.change_parameters(compressor="zstd")["compressor"] == "zstd"
    pool.change_parameters(compressor=before)
    assert pool.pool()["page_size"] == pool.page_size == PAGE_SIZE
    assert pool.readiness()["status"] == "ready"
    assert "pagepool_stores_total" in pool.metrics()


def test_a_unix_socket(tmp_path: Path) -> None:
    """The client speaks over a Unix socket as over TCP."""
    with FakeService(tmp_path / "s") as service, Client(service.url) as client:
        client.store(1, 0, SAME)
        assert client.load(1, 0) == SAME


def test_connections_are_bounded(fake: FakeService) -> None:
    """Threads that share a client never have more connections than it may have."""
    with Client(fake.url, max_connections=2) as client:
        threads = [threading.Thread(target=client.store, args=(1, i, SAME)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(fake.pages[1]) == 8
    assert fake.most_in_flight <= 2


def test_another_transport() -> None:
    """Any transport of httpx's will do: answers are read whole, errors are the client's; it is closed."""
    closed = []

    class Noting(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert request.extensions["timeout"]["read"] == 7
            assert request.headers["authorization"] == "Bearer secret"
            return super().handle_request(request)

        def close(self) -> None:
            closed.append(self)
            super().close()

    with FakeService() as service, Client(service.url, timeout=7, transport=Noting(), token="secret") as client:
        url = service.url
        client.store(1, 0, SAME)
        assert client.load(1, 0) == SAME
        assert not closed
    assert len(closed) == 1
    nobody = Client(url, transport=httpx.HTTPTransport(), retries=NO_RETRIES)
    with nobody, pytest.raises(NotReachable):
        nobody.load(1, 0)


def test_a_connection_that_the_service_closed_is_not_used() -> None:
    """An idle connection that was closed is noticed before a request is sent on it."""
    with FakeService() as service, Client(service.url) as client:
        client.store(1, 0, SAME)
        (connection,) = client._transport._idle
        connection.shutdown(2)
        client.store(1, 1, SAME)
        assert len(service.pages[1]) == 2


def test_a_fork_has_connections_of_its_own() -> None:
    """Two processes that read from one connection would take each other's answers."""
    with FakeService() as service, Client(service.url) as client:
        client.store(1, 0, SAME)
        (connection,) = client._transport._idle
        client._transport._process -= 1  # as the child of a fork finds it
        assert client.load(1, 0) == SAME
        assert connection not in client._transport._idle


@contextmanager
def _answers_once(answer: bytes) -> Iterator[str]:
    """The address of something that gives this answer to whatever it is sent, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


_PAGE_ANSWER = f"HTTP/1.1 200 OK\r\nETag: {etag_of(SAME)}\r\nContent-Length: {PAGE_SIZE}\r\n\r\n".encode() + SAME


@pytest.mark.parametrize("end", [0, 9, 17, 30, 45, 60, 70, len(_PAGE_ANSWER) - PAGE_SIZE, len(_PAGE_ANSWER) - 1])
def test_an_answer_that_is_cut_is_none(end: int) -> None:
    """Wherever it is cut, in its head too, which the standard library takes for whole."""
    with (
        _answers_once(_PAGE_ANSWER[:end]) as url,
        Client(url, retries=NO_RETRIES) as client,
    ):
        with pytest.raises(NoAnswer):
            client.load(1, 0)
        assert not client._transport._idle


@pytest.mark.parametrize("length", [b"-4", b"abc", b"5, 5", b"9" * 23, b"9" * 5000, b"\xb2"])
def test_a_length_that_is_none(length: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n"
    with (
        _answers_once(answer) as url,
        Client(url, retries=NO_RETRIES) as client,
        pytest.raises(NoAnswer, match="length"),
    ):
        client.load(1, 0)


def test_answers_that_are_announced() -> None:
    """100 and 103 come before the answer (RFC 9110, 15.2)."""
    announced = b"HTTP/1.1 100 Continue\r\n\r\n" + 2 * b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with _answers_once(announced + _PAGE_ANSWER) as url, Client(url, retries=NO_RETRIES) as client:
        assert client.load(1, 0) == SAME


def test_a_page_bears_its_digest() -> None:
    """Without one it could be anything."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for call in ("load", "take", "head"):
        with (
            _answers_once(answer) as url,
            Client(url, retries=NO_RETRIES) as client,
            pytest.raises(BrokenAnswer),
        ):
            getattr(client, call)(1, 0)


@pytest.mark.parametrize("offset", ["0 HTTP/1.1\r\nX: ", "0 1", "0\n", "ä"])
def test_nothing_is_smuggled_into_a_request(fake: FakeService, offset: str) -> None:
    with Client(fake.url) as client, pytest.raises(ValueError, match="path"):
        client.load(0, offset)  # type: ignore[arg-type]


def test_async(pool_url: str, area: int, tmp_path: Path, mixed_pages: bytes) -> None:
    """The async client makes the same calls, and transfers files with progress told in the event loop."""
    source, target, told = tmp_path / "in", tmp_path / "out", []
    source.write_bytes(mixed_pages)

    async def talk() -> None:
        async with AsyncClient(pool_url) as client:
            await client.store(area, 0, ALL_VALUES)
            assert await client.load(area, 0) == ALL_VALUES
            await asyncio.gather(*(client.store_frames(area, o, SAME) for o in range(1, 20)))
            assert (await client.load_frames(area, 0, 20)).missing == []
            assert [run.state async for run in client.allocation_runs(area, 0, 20)] == ["data"]
            assert area in [type_["type"] async for type_ in client.types()]
            with pytest.raises(PageMissing):
                await client.load(area, 99)
            summary = await client.import_pages(source, area, progress=lambda *now: told.append(now))
            assert summary.pages == 1500
            await client.export_pages(area, target)

    asyncio.run(talk())
    assert target.read_bytes() == mixed_pages
    assert told[-1] == (1500, 1500)


def test_async_retries(fake: FakeService) -> None:
    """The async client waits as the sync one does."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def talk() -> None:
        async with AsyncClient(fake.url, sleep=sleep) as client:
            fake.answer_next(503, {"code": "overloaded"}, retry_after="2")
            await client.store(1, 0, SAME)

    asyncio.run(talk())
    assert 2 <= waits[0] < 2.2


def test_an_import_can_be_cancelled(pool_url: str, area: int, tmp_path: Path, mixed_pages: bytes) -> None:
    """When the task is cancelled, no further page is sent, and nothing runs on."""
    source = tmp_path / "in"
    source.write_bytes(mixed_pages * 20)

    async def talk() -> None:
        async with AsyncClient(pool_url) as client:
            begun = asyncio.Event()
            task = asyncio.create_task(client.import_pages(source, area, progress=lambda *_: begun.set()))
            waiting = asyncio.create_task(begun.wait())
            await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
            assert waiting.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(talk())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pagepool")]
