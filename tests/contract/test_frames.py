"""Frames: many pages in one body, each kind in its compact form (contract 2.2)."""

import random

import pytest

from tests.harness import frames, pages
from tests.harness.area import Area
from tests.harness.frames import FrameKind
from tests.harness.problems import check_problem

PAGE, RAW = pages.compressible(1), pages.incompressible(1)
WORD = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def as_frames(offset: int, body: list[bytes]) -> list[bytes]:
    """One frame a page, each in the form that fits it."""
    made = []
    for at, page in enumerate(body, offset):
        kind = pages.kind_of(page)
        if kind == "zero":
            made.append(frames.zero(at))
        elif kind == "same":
            made.append(frames.same(at, 1, page[:8]))
        elif kind == "compressed":
            made.append(frames.lz4_frame(at, page))
        else:
            made.append(frames.data(at, page))
    return made


@pytest.mark.smoke
def test_store_each_kind(area: Area) -> None:
    """A store in frames takes data, zero, same and LZ4, and answers as an extent does, without an ETag."""
    response = area.put_frames(
        60,
        frames.data(60, PAGE, RAW),
        frames.zero(62, 3),
        frames.same(65, 2, WORD),
        frames.lz4_frame(67, PAGE, pages.compressible(2)),
    )
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["page-counts"] == "zero=3, same=2, compressed=3, raw=1"
    assert "etag" not in response.headers
    expected = [PAGE, RAW, *[pages.zero()] * 3, *[pages.same(WORD)] * 2, PAGE, pages.compressible(2)]
    assert area.load_pages(60, 9) == expected


@pytest.mark.smoke
def test_load_frames(area: Area) -> None:
    """A load in frames answers for every page asked for, absent ones included, and ends with its end frame."""
    body = pages.mixed(40, seed=6)
    area.store(50, *body)
    area.delete(55, count=3)
    response = area.get_frames(48, count=45)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert "etag" not in response.headers
    answer = frames.read(response.content)
    assert FrameKind.LZ4 not in {frame.kind for frame in answer}
    found = frames.by_offset(answer)
    absent = {48, 49, 55, 56, 57, 90, 91, 92}
    assert set(found) == set(range(48, 93))
    for offset, page in found.items():
        assert page == (FrameKind.ABSENT if offset in absent else body[offset - 50])


@pytest.mark.smoke
def test_load_frames_with_lz4(area: Area) -> None:
    """With lz4=1 compressed pages come as they are kept; every page is the same."""
    body = pages.mixed(60, seed=7)
    area.store(0, *body)
    answer = frames.read(area.get_frames(0, count=60, lz4=1).content)
    assert FrameKind.LZ4 in {frame.kind for frame in answer}
    assert frames.by_offset(answer) == dict(enumerate(body))
    assert len(area.get_frames(0, count=60, lz4=1).content) < len(area.get_frames(0, count=60).content)


def test_lz4_frames_only_where_asked_for(area: Area) -> None:
    """Kind 4 appears in an answer only with lz4=1."""
    area.store(0, PAGE)
    for query in ({}, {"lz4": 0}):
        response = area.get_frames(0, count=1, **query)
        if response.status_code == 200:
            assert [frame.kind for frame in frames.read(response.content)] == [FrameKind.DATA]


@pytest.mark.smoke
def test_one_page_by_default(area: Area) -> None:
    """Without count a load in frames is of one page."""
    area.store(5, PAGE, RAW)
    assert frames.by_offset(frames.read(area.get_frames(5).content)) == {5: PAGE}


def test_compact_kinds_in_answers(area: Area) -> None:
    """Zero and same-filled pages come in their compact form: a snapshot of nothing costs next to nothing."""
    area.store(0, *[pages.zero()] * 256, *[pages.same()] * 256)
    assert len(area.get_frames(0, count=512).content) <= 512 * 24 // 8


@pytest.mark.smoke
def test_frames_in_any_order(area: Area) -> None:
    """Frames may come in any order."""
    body = pages.mixed(100, seed=8)
    made = as_frames(30, body)
    random.Random(1).shuffle(made)
    assert area.put_frames(30, *made).status_code == 204
    assert area.load_pages(30, 100) == body


def test_frames_with_gaps(area: Area) -> None:
    """Frames need not be consecutive: pages between them stay as they are."""
    area.store(0, *[RAW] * 100)
    assert area.put_frames(0, frames.zero(10, 5), frames.data(90, PAGE), frames.zero(50)).status_code == 204
    expected = [RAW] * 100
    expected[10:15] = [pages.zero()] * 5
    expected[50], expected[90] = pages.zero(), PAGE
    assert area.load_pages(0, 100) == expected


def test_the_window_of_a_store(area: Area) -> None:
    """All addresses of a store lie in [offset, offset + max_extent_pages)."""
    assert area.put_frames(100, frames.zero(100), frames.zero(611)).status_code == 204
    for wrong in (frames.zero(99), frames.zero(612), frames.zero(611, 2), frames.zero(0), frames.zero(2**63)):
        check_problem(area.put_frames(100, frames.data(200, RAW), wrong), 400, "bad_frame", "kept")
    assert area.is_absent(200)


@pytest.mark.smoke
def test_what_was_decoded_is_classified(area: Area) -> None:
    """The server classifies what it decoded: zeros sent as data or LZ4 are zero pages, and so on."""
    response = area.put_frames(
        0,
        frames.data(0, pages.zero(), pages.same(WORD)),
        frames.lz4_frame(2, pages.zero(), pages.same(WORD)),
        frames.same(4, 2, bytes(8)),
    )
    assert response.headers["page-counts"] == "zero=4, same=2, compressed=0, raw=0"
    numbers = area.numbers()
    assert (numbers["zero_pages"], numbers["same_filled_pages"], numbers["stored_pages"]) == (4, 2, 6)
    assert area.load_pages(0, 6) == [
        pages.zero(),
        pages.same(WORD),
        pages.zero(),
        pages.same(WORD),
        pages.zero(),
        pages.zero(),
    ]


@pytest.mark.smoke
def test_frames_and_extents_are_one(area: Area) -> None:
    """What is stored in one form can be loaded in the other, with the same ETag and the same kind."""
    real = list(pages.real(300))
    assert area.put_frames(0, *as_frames(0, real)).headers["page-counts"] == pages.counts_header(real)
    assert area.load(0, 300) == b"".join(real)
    for offset in range(0, 300, 17):
        response = area.get(offset)
        assert response.headers["etag"] == pages.etag(real[offset])
        assert response.headers["page-kind"] == pages.kind_of(real[offset])
    assert area.load_frames(0, 300, lz4=1) == dict(enumerate(real))


def test_answers_can_be_sent_back(area: Area) -> None:
    """An answer's frames, its end frame left out, are a body that stores the same pages again."""
    body = pages.mixed(200, seed=10)
    area.store(0, *body)
    answer = area.get_frames(0, count=200, lz4=1).content[: -frames.HEAD_BYTES]
    area.delete(0, count=200)
    assert area.put_frames(0, answer).status_code == 204
    assert area.load_pages(0, 200) == body


@pytest.mark.parametrize("compressor", ["zstd", "none", "lz4hc"])
def test_lz4_of_pages_kept_otherwise(area: Area, tune, compressor: str) -> None:
    """lz4=1 answers right for pages kept under any compressor."""
    body = pages.mixed(50, seed=11)
    tune(compressor=compressor)
    area.store(0, *body)
    assert area.load_frames(0, 50, lz4=1) == dict(enumerate(body))
    assert area.load_frames(0, 50) == dict(enumerate(body))


def bad_blocks() -> dict[str, bytes]:
    good = frames.block(PAGE)
    other = frames.block(pages.compressible(2))
    short = frames.lz4.block.compress(PAGE[:4095], store_size=False)
    long = frames.lz4.block.compress(PAGE + b"x", store_size=False)

    def lz4_(payload: bytes, count: int = 1) -> bytes:
        return frames.frame(1, count, FrameKind.LZ4, payload)

    def counted(block: bytes, digest: bytes = good[2:10]) -> bytes:
        return len(block).to_bytes(2, "little") + digest + block

    return {
        "a length of 0": lz4_(counted(b"")),
        "a wrong digest": lz4_(counted(good[10:], other[2:10])),
        "a digest with a bit flipped": lz4_(counted(good[10:], bytes([good[2] ^ 1]) + good[3:10])),
        "a block one byte short": lz4_(counted(short)),
        "a block one byte long": lz4_(counted(long)),
        "a block cut off": lz4_(counted(good[10:-3])),
        "a block with bytes after it": lz4_(counted(good[10:] + b"\x00")),
        "a block of noise": lz4_(counted(random.Random(1).randbytes(300))),
        "a block not shorter than a page": lz4_(counted(RAW)),
        "a length past the body": lz4_(b"\xff\xff" + good[2:]),
        "fewer blocks than counted": lz4_(good, 2),
        "half a block's head": lz4_(good + other[:5], 2),
    }


def bad_bodies() -> dict[str, bytes]:
    return {
        "a head cut off": frames.zero(1)[:15],
        "a single byte": b"\x00",
        "data cut off": frames.data(1, PAGE)[:-1],
        "data without payload": frames.frame(1, 1, FrameKind.DATA),
        "fewer pages than counted": frames.frame(1, 3, FrameKind.DATA, PAGE * 2),
        "bytes after the last frame": frames.zero(1) + b"\x01",
        "a word cut off": frames.frame(1, 1, FrameKind.SAME, WORD[:7]),
        "a count of 0": frames.frame(1, 0, FrameKind.ZERO),
        "a count of 0 with data": frames.frame(1, 0, FrameKind.DATA),
        "a huge count": frames.frame(1, 2**32 - 1, FrameKind.ZERO),
        "a huge count of data": frames.frame(1, 2**32 - 1, FrameKind.DATA, PAGE),
        "more pages than an extent": frames.zero(1, 513),
        "an offset past all": frames.frame(2**64 - 1, 1, FrameKind.ZERO),
        "an address twice": frames.zero(1, 2) + frames.data(2, PAGE),
        "an address twice in one kind": frames.zero(3) + frames.zero(1, 5),
        **{
            f"reserved byte {n} set": frames.frame(1, 1, FrameKind.ZERO, b"", bytes(n) + b"\x01" + bytes(2 - n))
            for n in range(3)
        },
        **{f"unknown kind {kind}": frames.frame(1, 1, kind) for kind in (6, 7, 127, 254)},
        "absent, which is for answers": frames.frame(1, 1, FrameKind.ABSENT),
        "corrupt, which is for answers": frames.frame(1, 1, FrameKind.CORRUPT),
        **bad_blocks(),
    }


@pytest.mark.parametrize("body", bad_bodies().values(), ids=bad_bodies())
def test_bad_frames(area: Area, body: bytes) -> None:
    """A frame that does not decode is 400 `bad_frame`, and nothing of that request is stored."""
    area.store(1, RAW, RAW, RAW)
    before = area.service.metrics()
    check_problem(area.put_frames(0, frames.data(100, PAGE), body), 400, "bad_frame", "kept")
    check_problem(area.put_frames(0, body), 400, "bad_frame", "kept")
    assert area.is_absent(100)
    assert area.load_pages(1, 3) == [RAW] * 3
    assert not any(name.startswith(("stores", "rejects")) for name in area.service.metrics().since(before))


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["data cut off", "a wrong digest", "an address twice", "reserved byte 0 set"])
def test_bad_frames_everywhere(area: Area, name: str) -> None:
    """A frame that does not decode is 400 `bad_frame`, on every combination."""
    check_problem(area.put_frames(0, frames.data(100, PAGE), bad_bodies()[name]), 400, "bad_frame", "kept")
    assert area.is_absent(100)


def test_every_truncation(area: Area) -> None:
    """Every truncation of a body is 400 `bad_frame`, but those that end with a whole frame."""
    parts = [frames.zero(0, 2), frames.same(2, 1, WORD), frames.lz4_frame(3, PAGE)]
    whole = b"".join(parts)
    ends = {len(parts[0]), len(parts[0] + parts[1]), len(whole)}
    for length in range(1, len(whole)):
        response = area.put_frames(0, whole[:length])
        if length in ends:
            assert response.status_code == 204
        else:
            check_problem(response, 400, "bad_frame", "kept")


def test_an_empty_body(area: Area) -> None:
    """A store in frames of nothing stores nothing, or is refused; it changes nothing either way."""
    area.store(0, RAW)
    response = area.put_frames(0)
    assert response.status_code in {204, 400}
    assert area.load(0) == RAW


def test_an_end_frame_in_a_store(area: Area) -> None:
    """An end frame is for answers: in a store it is refused, or ends the body; never half a store."""
    response = area.put_frames(0, frames.data(0, PAGE), frames.frame(0, 1, FrameKind.END))
    assert response.status_code in {204, 400}
    assert area.is_absent(0) == (response.status_code == 400)


def test_media_type_of_frames(area: Area) -> None:
    """Frames are application/octet-stream and nothing else."""
    response = area.put_frames(0, frames.zero(0), headers={"Content-Type": "application/json"})
    check_problem(response, 415, "unsupported_media_type", "kept")


def test_frames_too_large(area: Area) -> None:
    """A body longer than max_extent_pages pages could need is 413 or 400, and nothing is stored."""
    body = b"".join(frames.data(n, RAW) for n in range(512)) + bytes(600 * 4096)
    response = area.put_frames(0, body)
    assert response.status_code in {400, 413}
    assert area.is_absent(0)


def test_the_largest_store_in_frames(area: Area) -> None:
    """max_extent_pages pages, a frame each, are one store."""
    body = [pages.incompressible(n) for n in range(512)]
    assert area.put_frames(0, *(frames.data(n, page) for n, page in enumerate(body))).status_code == 204
    assert area.load(0, 512) == b"".join(body)
    assert area.load_frames(0, 512) == dict(enumerate(body))


@pytest.mark.parametrize("count", ["0", "-1", "01", "x", ""])
def test_malformed_counts_of_frames(area: Area, count: str) -> None:
    """A malformed count is 422 in this form too."""
    check_problem(area.get_frames(0, count=count), 422, "bad_address")


def test_frames_past_the_last_offset(area: Area) -> None:
    """Frames obey the last offset."""
    last = 2**51 - 1
    check_problem(area.get_frames(last, count=2), 422, "bad_address")
    assert area.put_frames(last, frames.zero(last)).status_code == 204
    response = area.put_frames(last, frames.zero(last, 2))
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code, None, "kept")


@pytest.mark.smoke
def test_gather(area: Area) -> None:
    """POST …/load gathers pages from several extents, in frames."""
    body = pages.mixed(300, seed=12)
    area.store(0, *body)
    for query in ({}, {"lz4": 1}):
        response = area.gather((250, 10), (0, 3), (100, 1), (1000, 2), **query)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/octet-stream"
        found = frames.by_offset(frames.read(response.content))
        wanted = {offset: body[offset] for offset in (*range(250, 260), 0, 1, 2, 100)}
        assert found == {**wanted, 1000: FrameKind.ABSENT, 1001: FrameKind.ABSENT}


def test_gather_scattered_pages(area: Area) -> None:
    """A gather may name as many single pages as an extent has."""
    for start in range(0, 512 * 64, 512 * 8):
        area.store(start, *[pages.zero()] * 512)
    for offset in range(0, 512 * 64, 64 * 8):
        area.store(offset, pages.compressible(offset))
    found = frames.by_offset(frames.read(area.gather(*((64 * n, 1) for n in range(512))).content))
    assert len(found) == 512
    for offset, page in found.items():
        if (offset // 512) % 8 == 0:
            assert page == (pages.compressible(offset) if offset % 512 == 0 else pages.zero())


@pytest.mark.parametrize(
    ("extents", "status"),
    [
        ([[0, 513]], 413),
        ([[0, 512], [600, 1]], 413),
        ([[-1, 1]], 422),
        ([[0, 0]], 422),
        ([[2**51 - 1, 2]], 422),
        ([[2**63, 1]], 422),
        ([[0, 1.5]], 422),
        ([["0", 1]], 422),
        ([[True, 1]], 422),
        ([[0]], 422),
        ([[0, 1, 2]], 422),
        ("x", 422),
        (None, 422),
    ],
)
def test_malformed_gathers(area: Area, extents, status: int) -> None:
    """A gather of too many pages is 413, a malformed one 422 (or 400); bodies are never guessed at."""
    response = area.client.post(f"/v1/frames/{area.type}/load", json={"extents": extents})
    if status == 413:
        check_problem(response, 413)
    else:
        assert response.status_code in {400, 422}
        check_problem(response, response.status_code)


@pytest.mark.parametrize("path", ["/v1/frames/{}/load", "/v1/pages/{}/invalidate", "/v1/pages/{}/zero"])
@pytest.mark.smoke
def test_json_calls_want_json(area: Area, path: str) -> None:
    """JSON calls require application/json, and a body that is JSON."""
    path = path.format(area.type)
    area.store(0, RAW)
    body = b'{"extents": [[0, 1]]}'
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"Content-Type": media_type} if media_type else {}
        check_problem(area.client.post(path, content=body, headers=headers), 415)
    for wrong in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"extents": [[0, 1]]', b'{"extents": [[0, NaN]]}'):
        response = area.client.post(path, content=wrong, headers={"Content-Type": "application/json"})
        assert response.status_code in {400, 422}
        check_problem(response, response.status_code)
    assert area.load(0) == RAW
    response = area.client.post(path, content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert response.status_code == 200


@pytest.mark.smoke
def test_frames_are_counted_in_pages(area: Area) -> None:
    """Stores and loads in frames count as any other, in pages."""
    before = area.service.metrics()
    area.put_frames(0, frames.data(0, PAGE, RAW), frames.zero(2, 3), frames.same(5, 2, WORD))
    area.get_frames(0, count=9)
    area.gather((0, 1), (2, 1))
    assert area.service.metrics().since(before) == {
        "stores.compressed": 1,
        "stores.raw": 1,
        "stores.zero": 3,
        "stores.same": 2,
        "loads.hit_compressed": 2,
        "loads.hit_raw": 1,
        "loads.hit_zero": 4,
        "loads.hit_same": 2,
        "loads.miss": 2,
    }
