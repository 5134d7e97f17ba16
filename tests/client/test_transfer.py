from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from pagepool_client import (
    NO_RETRIES,
    BadAddress,
    Client,
    NotWholePages,
    PageCorrupt,
    PageMissing,
    PoolFull,
    TypeUnknown,
    calls,
)

from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService

NOISE = os.urandom(PAGE_SIZE)


@pytest.fixture
def client(fake: FakeService) -> Client:
    with Client(fake.url, retries=NO_RETRIES) as client:
        yield client


def test_a_real_snapshot(pool: Client, area: int, snapshot: Path, tmp_path: Path) -> None:
    """The memory of a real machine comes out as it went in, and its kinds are counted."""
    counts = pool.import_pages(snapshot, area).counts
    assert (counts.pages, counts.zero, counts.same) == (8192, 1400, 293)
    summary = pool.export_pages(area, tmp_path / "out")
    assert (summary.pages, summary.zero, summary.same, summary.absent) == (8192, 1400, 293, 0)
    assert (tmp_path / "out").read_bytes() == snapshot.read_bytes()


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 1000])
@pytest.mark.parametrize("lz4", [True, False])
def test_round_trip(pool: Client, area: int, mixed_pages: bytes, tmp_path: Path, offset: int, lz4: bool) -> None:
    """A file can be imported at any offset, and the export of the held range gives it back."""
    source, target, told = tmp_path / "in", tmp_path / "out", []
    source.write_bytes(mixed_pages)
    summary = pool.import_pages(source, area, offset, lz4=lz4, progress=lambda *now: told.append(now))
    assert (summary.pages, summary.offset) == (1500, offset)
    assert told == sorted(told)
    assert told[-1] == (1500, 1500)
    exported = pool.export_pages(area, target, lz4=lz4)
    # The first and the last page of a file may be zeros, but they are held.
    assert (exported.offset, exported.pages) == (offset, 1500)
    assert target.read_bytes() == mixed_pages


def test_pipes(pool: Client, area: int, mixed_pages: bytes) -> None:
    """What cannot be read or written at any place is streamed in order."""
    assert pool.import_pages(io.BytesIO(mixed_pages), area).pages == 1500
    target = io.BytesIO()
    pool.export_pages(area, target)
    assert target.getvalue() == mixed_pages


def test_holes_are_neither_read_nor_sent(fake: FakeService, client: Client, tmp_path: Path) -> None:
    """A sparse file of 4 GiB is imported and exported by a few requests; what comes out is sparse as well."""
    source, target = tmp_path / "in", tmp_path / "out"
    pages = 1 << 16
    with source.open("wb") as file:
        file.truncate(pages * PAGE_SIZE)
        os.pwrite(file.fileno(), NOISE, 40_000 * PAGE_SIZE)
    summary = client.import_pages(source, 1)
    assert (summary.counts.zero, summary.counts.raw) == (pages - 1, 1)
    assert summary.sent_bytes < 5000
    assert len(fake.requests) <= 5
    fake.requests.clear()
    exported = client.export_pages(1, target)
    assert (exported.zero, exported.raw) == (pages - 1, 1)
    assert len(fake.requests) <= 5
    assert target.stat().st_size == pages * PAGE_SIZE
    assert target.stat().st_blocks * 512 <= 64 * 1024
    with target.open("rb") as file:
        assert os.pread(file.fileno(), PAGE_SIZE, 40_000 * PAGE_SIZE) == NOISE


def test_zero_pages_become_holes(client: Client, tmp_path: Path) -> None:
    """Single zero pages between data are holes in the exported file, and so is its end."""
    data = (NOISE + bytes(PAGE_SIZE * 15)) * 16
    client.import_pages(io.BytesIO(data), 1)
    target = tmp_path / "out"
    client.export_pages(1, target)
    assert target.read_bytes() == data
    assert target.stat().st_blocks * 512 < len(data) // 4


def test_what_is_not_whole_pages(fake: FakeService, client: Client, tmp_path: Path) -> None:
    """A file that ends within a page is refused before anything is sent, unless it may be padded with zeros."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(NOISE * 2 + b"tail")
    with pytest.raises(NotWholePages, match="8196 bytes are not a whole number of pages of 4096: 4 bytes"):
        client.import_pages(source, 1)
    assert not [request for request in fake.requests if request.startswith("PUT")]
    assert client.import_pages(source, 1, pad=True).pages == 3
    client.export_pages(1, target)
    assert target.read_bytes() == NOISE * 2 + b"tail" + bytes(PAGE_SIZE - 4)


def test_past_the_last_offset(fake: FakeService, client: Client, tmp_path: Path) -> None:
    """It is said before the first page is sent, not after the last that fits."""
    path = tmp_path / "in"
    path.write_bytes(NOISE * 2)
    with pytest.raises(BadAddress):
        client.import_pages(path, 1, (1 << 63) // PAGE_SIZE - 1)
    assert 1 not in fake.pages
    assert client.import_pages(path, 1, (1 << 63) // PAGE_SIZE - 2).pages == 2


def test_absent_pages(client: Client, tmp_path: Path) -> None:
    """An export of absent pages fails and says which, before it touches the file, unless they may be zeros."""
    target = tmp_path / "out"
    target.write_bytes(b"what was there")
    for offset in (3, 5, 6, 2000):
        client.store(1, offset, NOISE)
    with pytest.raises(PageMissing, match="4, 7-1999") as caught:
        client.export_pages(1, target)
    assert caught.value.missing == ((4, 1), (7, 1993))
    assert target.read_bytes() == b"what was there"
    summary = client.export_pages(1, target, missing="zero")
    assert (summary.offset, summary.pages, summary.absent) == (3, 1998, 1994)
    assert target.read_bytes() == NOISE + bytes(PAGE_SIZE) + NOISE * 2 + bytes(PAGE_SIZE * 1993) + NOISE
    summary = client.export_pages(1, target, 0, 5, missing="zero")
    assert target.read_bytes() == bytes(PAGE_SIZE * 3) + NOISE + bytes(PAGE_SIZE)


def test_a_type_that_holds_nothing(client: Client, tmp_path: Path) -> None:
    """There is no held range to export; nothing is written."""
    with pytest.raises(TypeUnknown):
        client.export_pages(1, tmp_path / "out")
    client.store(1, 0, NOISE)
    with pytest.raises(TypeUnknown):
        client.export_pages(1, tmp_path / "out", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, -1])
def test_a_range_without_pages(client: Client, tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="pages"):
        client.export_pages(1, tmp_path / "out", 0, count)
    assert not (tmp_path / "out").exists()


def test_a_map_in_pieces(fake: FakeService, client: Client, mixed_pages: bytes) -> None:
    """An allocation map that tells of less than was asked for is asked on; its pieces are joined."""
    client.import_pages(io.BytesIO(mixed_pages), 1)
    fake.map_step = 100
    target = io.BytesIO()
    client.export_pages(1, target, 0, 1500)
    assert target.getvalue() == mixed_pages


def test_corrupt_pages(fake: FakeService, client: Client, tmp_path: Path) -> None:
    """A page that fails the service's check ends the export; no file is left that looks whole."""
    client.import_pages(io.BytesIO(NOISE * 10), 1)
    fake.corrupt = {(1, 4), (1, 5)}
    with pytest.raises(PageCorrupt, match="4-5"):
        client.export_pages(1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_pool_that_fills_up(fake: FakeService, client: Client) -> None:
    """An import that is refused says how far it came."""
    fake.max_pages = 1000
    with pytest.raises(PoolFull) as caught:
        client.import_pages(io.BytesIO(NOISE * 2000), 1, in_flight=1)
    assert caught.value.stored == 488
    assert "The 512 pages from 0 on were stored" in caught.value.__notes__[0]


def test_an_answer_without_its_end(fake: FakeService, client: Client, tmp_path: Path) -> None:
    """Frames without the end frame are no answer."""
    client.import_pages(io.BytesIO(NOISE), 1)
    fake.requests.clear()
    client.layout  # noqa: B018 - asked for before the queue is filled
    body = client.send(calls.fetch_frames(1, 0, 1, lz4=False))[:-16]
    runs = b'{"until": 1, "extents": [{"offset": 0, "count": 1, "state": "data"}]}'
    fake.answer_next(200, None, runs)
    fake.answer_next(200, None, body)
    with pytest.raises(Exception, match="end frame"):
        client.export_pages(1, tmp_path / "out", 0, 1)


def test_requests_overlap(fake: FakeService, client: Client) -> None:
    """Several requests are in flight, and no more than were asked for."""
    client.import_pages(io.BytesIO(NOISE * 512 * 8), 1, in_flight=3)
    assert fake.most_in_flight <= 3


def test_a_symbolic_link_stays_one(client: Client, tmp_path: Path) -> None:
    """An export through a link replaces the file behind it."""
    client.store(1, 0, NOISE)
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    client.export_pages(1, link)
    assert link.is_symlink()
    assert real.read_bytes() == NOISE
