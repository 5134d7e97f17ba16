"""Blobs that fail their check (contract 3.4), written straight into Redis."""

from collections.abc import Iterator

import pytest
import redis

from tests.harness import frames, pages
from tests.harness.area import Area
from tests.harness.deployments import needs_image_view
from tests.harness.frames import FrameKind
from tests.harness.problems import check_problem
from tests.harness.raw_http import request
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

OWN_SERVICE = True
KINDS = {kind: page for kind, page in pages.of_each_kind().items() if kind != "zero"}


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisServer]:
    """The Redis of this module's service."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=["protocol", "asgi"])
def service(request: pytest.FixtureRequest, backend: RedisServer) -> Iterator[Service]:
    """A service whose Redis the tests can reach, through either door."""
    with Service(redis_url=backend.url, door=request.param, max_pool_bytes="0", namespace=request.param) as running:
        yield running


class Blobs:
    """The blobs of one type, as Redis holds them: fields with decimal names in the hashes of chunks."""

    def __init__(self, client: redis.Redis, area: Area) -> None:
        self._client = client
        self._area = area

    def _keys(self) -> list[bytes]:
        marker = f":{self._area.type}:".encode()
        return [key for key in self._client.scan_iter("*:p:*", count=1000) if marker in key and b":p:" in key]

    def all(self) -> dict[tuple[bytes, bytes], bytes]:
        """Every blob, by key and field."""
        return {
            (key, field): blob
            for key in self._keys()
            for field, blob in self._client.hgetall(key).items()
            if field.isdigit()
        }

    def only(self) -> tuple[bytes, bytes, bytes]:
        """Key, field and bytes of the one blob that there is."""
        ((key, field), blob), *rest = self.all().items()
        assert not rest
        return key, field, blob

    def write(self, key: bytes, field: bytes, blob: bytes) -> None:
        self._client.hset(key, field, blob)

    def drop(self, key: bytes, field: bytes) -> None:
        self._client.hdel(key, field)


@pytest.fixture
def blobs(backend: RedisServer, area: Area) -> Iterator[Blobs]:
    with backend.client() as client:
        yield Blobs(client, area)


def mutations(blob: bytes) -> Iterator[bytes]:
    """The blob with one bit flipped in every byte of its envelope and in bytes all over its payload, and cut short."""
    for at in (*range(min(20, len(blob))), *range(20, len(blob), max(1, len(blob) // 40)), len(blob) - 1):
        yield blob[:at] + bytes([blob[at] ^ (1 << (at % 8))]) + blob[at + 1 :]
    for length in (0, 1, 8, 9, 10, len(blob) // 2, len(blob) - 1):
        yield blob[:length]
    yield blob + b"\0"
    yield b"\xff" * len(blob)
    yield bytes(len(blob))


@pytest.mark.parametrize("compressor", ["lz4", "zstd", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_flipped_and_cut_blobs(area: Area, blobs: Blobs, tune, kind: str, compressor: str) -> None:
    """A blob with a flipped bit, cut or grown, is 500 `page_corrupt`, never other bytes; mended it loads again."""
    tune(compressor=compressor)
    area.store(5, KINDS[kind])
    key, field, blob = blobs.only()
    for changed in mutations(blob):
        blobs.write(key, field, changed)
        check_problem(area.get(5), 500, "page_corrupt")
    blobs.write(key, field, blob)
    assert area.load(5) == KINDS[kind]


def test_each_failure_counts_one(area: Area, blobs: Blobs) -> None:
    """`decode_failures` counts one for each failed check, and the page is kept for inspection."""
    area.store(5, KINDS["raw"])
    key, field, blob = blobs.only()
    changed = blob[:-1] + bytes([blob[-1] ^ 0x10])
    blobs.write(key, field, changed)
    before = area.service.metrics()
    for _ in range(3):
        check_problem(area.get(5), 500, "page_corrupt")
    assert area.service.metrics().since(before).get("decode_failures") == 3
    assert blobs.only() == (key, field, changed)
    assert area.numbers()["stored_pages"] == 1


def test_other_pages_are_fine(area: Area, blobs: Blobs) -> None:
    """A corrupt page harms no other."""
    body = [pages.incompressible(n) for n in range(10)]
    area.store(0, *body)
    (key, field), blob = sorted(blobs.all().items())[4]
    blobs.write(key, field, blob[:-1] + bytes([blob[-1] ^ 1]))
    statuses = [area.get(offset).status_code for offset in range(10)]
    assert sorted(statuses) == [200] * 9 + [500]
    corrupt = statuses.index(500)
    check_problem(area.get(0, count=10), 500, "page_corrupt")
    for offset in range(10):
        if offset != corrupt:
            assert area.load(offset) == body[offset]


def test_corrupt_pages_in_frames(area: Area, blobs: Blobs) -> None:
    """An answer in frames says of a corrupt page that it is, and brings the others."""
    body = [pages.incompressible(n) for n in range(10)]
    area.store(0, *body)
    key, field, _ = next((k, f, b) for (k, f), b in blobs.all().items())
    before = area.service.metrics()
    blobs.write(key, field, b"nonsense")
    for query in ({}, {"lz4": 1}):
        found = area.load_frames(0, 10, **query)
        corrupt = [offset for offset, page in found.items() if page is FrameKind.CORRUPT]
        assert len(corrupt) == 1
        assert all(found[offset] == body[offset] for offset in range(10) if offset not in corrupt)
    found = frames.by_offset(frames.read(area.gather((0, 10)).content))
    assert list(found.values()).count(FrameKind.CORRUPT) == 1
    assert area.service.metrics().since(before)["decode_failures"] == 3


def test_a_moved_blob(area: Area, blobs: Blobs) -> None:
    """A blob that belongs to another address is caught, though it is whole."""
    area.store(3, pages.compressible(1))
    key, field, blob = blobs.only()
    area.store(3, pages.compressible(2))
    area.store(4, pages.compressible(3))
    ((_, other),) = [pair for pair in blobs.all() if pair[1] != field]
    blobs.write(key, other, blob)
    check_problem(area.get(4), 500, "page_corrupt")
    blobs.write(key, field, blob)
    assert area.load(3) == pages.compressible(1)


def test_a_blob_of_another_type(areas, backend: RedisServer) -> None:
    """A blob of the same offset of another type is caught."""
    first, second = areas(), areas()
    first.store(3, pages.compressible(1))
    second.store(3, pages.compressible(1))
    with backend.client() as client:
        _, _, blob = Blobs(client, first).only()
        key, field, _ = Blobs(client, second).only()
        client.hset(key, field, blob)
    check_problem(second.get(3), 500, "page_corrupt")
    assert first.load(3) == pages.compressible(1)


def test_a_lost_blob(area: Area, blobs: Blobs) -> None:
    """A page that is marked present but whose blob is gone is corrupt: never zeros, never a silent miss."""
    area.store(3, pages.incompressible(1), pages.incompressible(2))
    (key, field), _ = next(iter(blobs.all().items()))
    blobs.drop(key, field)
    statuses = sorted(area.get(offset).status_code for offset in (3, 4))
    assert statuses == [200, 500]


def test_a_corrupt_page_is_not_taken(area: Area, blobs: Blobs) -> None:
    """A take verifies first: a corrupt page stays."""
    area.store(5, KINDS["compressed"])
    key, field, blob = blobs.only()
    blobs.write(key, field, blob[:-2] + b"xx")
    check_problem(area.take(5), 500, "page_corrupt")
    blobs.write(key, field, blob)
    assert area.take(5).content == KINDS["compressed"]


def test_a_corrupt_page_can_be_replaced(area: Area, blobs: Blobs) -> None:
    """A corrupt page can be overwritten and invalidated, and the counts stay exact."""
    area.store(5, KINDS["raw"])
    key, field, blob = blobs.only()
    blobs.write(key, field, blob[:-1] + bytes([blob[-1] ^ 1]))
    area.store(5, KINDS["compressed"])
    assert area.load(5) == KINDS["compressed"]
    key, field, blob = blobs.only()
    blobs.write(key, field, blob[:-1] + bytes([blob[-1] ^ 1]))
    check_problem(area.get(5), 500, "page_corrupt")
    assert area.delete(5).status_code == 204
    assert area.numbers()["stored_pages"] == 0
    assert area.numbers()["pool_bytes"] == 0


@needs_image_view
@pytest.mark.parametrize("at", [1, 4000], ids=["in the first part", "in mid-stream"])
def test_a_corrupt_page_in_an_image(area: Area, blobs: Blobs, at: int) -> None:
    """A corrupt page cuts an image's answer off, or is an error where nothing was sent yet: it is never padded."""
    area.configure(image_bytes=4096 * 4096)
    area.store(at, KINDS["raw"])
    key, field, blob = blobs.only()
    blobs.write(key, field, blob[:-1] + bytes([blob[-1] ^ 1]))
    with area.service.raw() as raw:
        raw.send(request("GET", area.image, None, "Connection: close"))
        status, _ = raw.read_head()
        body = raw.received_before_close()
    assert status == 500 or (status == 200 and body == bytes(len(body)) and len(body) <= at * 4096)
    response = area.client.get(area.image, headers={"Range": f"bytes={at * 4096}-"})
    check_problem(response, 500, "page_corrupt")
