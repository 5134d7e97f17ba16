"""A type as a disk image (contract 2.4)."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.deployments import needs_image_view
from tests.harness.problems import check_problem
from tests.harness.raw_http import chunked, request
from tests.harness.redis_server import until

pytestmark = needs_image_view

PAGE = 4096
SIZE = 10 * PAGE + 123
BODY = b"".join(pages.mixed(11, seed=71))[:SIZE]


@pytest.fixture
def disk(area: Area) -> Area:
    """A type with an image of SIZE bytes, all of it BODY."""
    assert put_whole(area, BODY).status_code == 204
    return area


def put_whole(area: Area, body: bytes, **headers: str):
    return area.client.put(area.image, content=body, headers=headers)


def write(area: Area, start: int, body: bytes, content_range: str = "bytes {start}-{end}/*", **headers: str):
    content_range = content_range.format(start=start, end=start + len(body) - 1)
    return area.client.put(area.image, content=body, headers={"Content-Range": content_range, **headers})


def read(area: Area, range_: str | None = None, **headers: str):
    return area.client.get(area.image, headers={"Range": range_, **headers} if range_ else headers)


def content(area: Area) -> bytes:
    response = read(area)
    assert response.status_code == 200
    return response.content


@pytest.mark.smoke
def test_no_image(area: Area) -> None:
    """A type without image_bytes has no image: 404 `no_image`, though it holds pages."""
    area.store(0, pages.compressible())
    check_problem(read(area), 404, "no_image")
    check_problem(read(area, "bytes=0-9"), 404, "no_image")
    check_problem(write(area, 0, b"x"), 404, "no_image", "kept")
    assert area.client.head(area.image).status_code == 404
    assert area.load(0) == pages.compressible()


@pytest.mark.smoke
def test_put_whole(area: Area) -> None:
    """PUT without Content-Range replaces the image, and at its end sets the size."""
    for body in (BODY, b"", b"x", bytes(PAGE), BODY[:5000], pages.incompressible() * 3):
        response = put_whole(area, body)
        assert (response.status_code, response.content) == (204, b"")
        assert content(area) == body
        assert area.show()["configuration"]["image_bytes"] == len(body)


@pytest.mark.smoke
def test_put_whole_chunked(area: Area) -> None:
    """A whole image may come in chunks, of a length that is not told before."""
    with area.service.raw() as raw:
        raw.send(request("PUT", area.image, None, "Transfer-Encoding: chunked") + chunked(BODY, 1, 5000, 4096, 7))
        assert raw.read().status == 204
    assert content(area) == BODY


@pytest.mark.smoke
def test_head(disk: Area) -> None:
    """HEAD says the size and that ranges of bytes are taken."""
    response = disk.client.head(disk.image)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("size", [0, 1, PAGE, 2**40 + 1, 2**53 - 1])
def test_size_is_the_configured_one(area: Area, size: int) -> None:
    """The image's size is the configured image_bytes, up to 2^53 - 1."""
    area.configure(image_bytes=size)
    assert area.client.head(area.image).headers["content-length"] == str(size)


@pytest.mark.smoke
def test_get_whole(disk: Area) -> None:
    """GET without Range is the whole image."""
    response = read(disk)
    assert (response.status_code, response.content) == (200, BODY)
    assert response.headers["accept-ranges"] == "bytes"
    assert "content-range" not in response.headers
    assert response.headers.get("content-encoding") is None


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-4095", 0, 4095),
        ("bytes=4095-4096", 4095, 4096),
        ("bytes=100-20000", 100, 20000),
        ("bytes=5000-", 5000, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-5000", SIZE - 5000, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE - 1),
        (f"bytes=1-{2**70}", 1, SIZE - 1),
        ("BYTES=3-5", 3, 5),
    ],
)
def test_one_range(disk: Area, range_: str, first: int, last: int) -> None:
    """One Range is 206 with Content-Range, clamped at the end."""
    response = read(disk, range_)
    assert response.status_code == 206
    assert response.content == BODY[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert response.headers["content-length"] == str(last - first + 1)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "range_", ["bytes=0-1,5-6", "bytes=0-1, 3-", "items=0-5", "bytes=5-3", "bytes=x-", "bytes", "bytes=", "bytes=--5"]
)
def test_ranges_that_are_ignored(disk: Area, range_: str) -> None:
    """Several ranges, and what is no range of bytes, are answered with the whole (RFC 9110, 14.2)."""
    response = read(disk, range_)
    assert (response.status_code, response.content) == (200, BODY)


@pytest.mark.smoke
def test_if_range(disk: Area) -> None:
    """If-Range is answered with the whole: an image has no validator."""
    response = read(disk, "bytes=0-9", **{"If-Range": '"0123456789abcdef"'})
    assert (response.status_code, response.content) == (200, BODY)


@pytest.mark.smoke
@pytest.mark.parametrize("range_", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", f"bytes={2**60}-", "bytes=-0"])
def test_ranges_past_the_end(disk: Area, range_: str) -> None:
    """A start past the end is 416, which says the size."""
    response = read(disk, range_)
    check_problem(response, 416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{SIZE}"


def test_an_empty_image(area: Area) -> None:
    """An image of 0 bytes is there, and empty."""
    area.configure(image_bytes=0)
    response = read(area)
    assert (response.status_code, response.content) == (200, b"")
    check_problem(read(area, "bytes=0-0"), 416)


@pytest.mark.smoke
def test_holes_read_as_zeros(area: Area) -> None:
    """Holes read as zeros, between pages and up to the image's end."""
    area.configure(image_bytes=SIZE)
    assert content(area) == bytes(SIZE)
    area.store(3, pages.incompressible())
    expected = bytes(3 * PAGE) + pages.incompressible() + bytes(SIZE - 4 * PAGE)
    assert content(area) == expected
    assert read(area, "bytes=12000-17000").content == expected[12000:17001]


def test_images_and_pages_are_one(disk: Area) -> None:
    """The image's bytes are the type's pages; its last page is filled up with zeros."""
    padded = BODY + bytes(-SIZE % PAGE)
    assert disk.get(0, count=11, missing="zero").content == padded
    disk.store(2, pages.compressible(5))
    assert content(disk) == BODY[: 2 * PAGE] + pages.compressible(5) + BODY[3 * PAGE :]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (0, PAGE),
        (PAGE, PAGE),
        (1, PAGE),
        (PAGE - 1, 2),
        (100, 50),
        (PAGE * 2, PAGE * 3),
        (5000, 20000),
        (SIZE - 1, 1),
        (SIZE - 500, 500),
        (0, SIZE),
    ],
)
def test_write(disk: Area, start: int, length: int) -> None:
    """PUT with Content-Range writes at START the bytes that come, aligned or not; 204, and nothing else changes."""
    data = random.Random(start).randbytes(length)
    response = write(disk, start, data)
    assert (response.status_code, response.content) == (204, b"")
    assert content(disk) == BODY[:start] + data + BODY[start + length :]
    assert disk.show()["configuration"]["image_bytes"] == SIZE


def test_write_into_holes(area: Area) -> None:
    """Unaligned edges in holes leave zeros around the bytes written."""
    area.configure(image_bytes=SIZE)
    assert write(area, 5000, b"hello").status_code == 204
    assert content(area) == bytes(5000) + b"hello" + bytes(SIZE - 5005)
    assert area.numbers()["stored_pages"] == 1


@pytest.mark.smoke
@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 100-199/-1",
        "bytes 100-199/*",
        f"bytes 100-199/{SIZE}",
        "bytes 100-199/5",
        "bytes 100-99/*",
        "bytes 100-5/*",
        "bytes 100-999999999999/*",
        "bytes 100-/*",
        "bytes 100-",
        "bytes 100-199",
    ],
)
def test_trust_start_and_the_body(disk: Area, content_range: str) -> None:
    """START and the body are trusted; a wrong end and a total of -1 or * are tolerated."""
    data = b"q" * 100
    assert write(disk, 100, data, content_range).status_code == 204
    assert content(disk) == BODY[:100] + data + BODY[200:]


@pytest.mark.parametrize(
    "content_range",
    ["bytes", "bytes 1", "bytes */100", "bytes x-5/*", "bytes -5-10/*", "pages 0-1/2", "", "bytes 1 -5/*", "bytes=0-5"],
)
def test_malformed_content_ranges(disk: Area, content_range: str) -> None:
    """A Content-Range without a START is refused; it is never taken for a whole image."""
    check_problem(write(disk, 0, b"q" * 100, content_range), 400, None, "kept")
    assert content(disk) == BODY


@pytest.mark.smoke
def test_write_chunked(disk: Area) -> None:
    """The bytes may come chunked."""
    data = random.Random(1).randbytes(20000)
    with disk.service.raw() as raw:
        lines = ("Content-Range: bytes 3000-22999/-1", "Transfer-Encoding: chunked")
        raw.send(request("PUT", disk.image, None, *lines) + chunked(data, 1, 1095, 5000, 4096))
        assert raw.read().status == 204
    assert content(disk) == BODY[:3000] + data + BODY[23000:]


@pytest.mark.smoke
def test_expect_100_continue(disk: Area) -> None:
    """`Expect: 100-continue` is honoured."""
    with disk.service.raw() as raw:
        lines = ("Content-Range: bytes 0-99/*", "Content-Length: 100", "Expect: 100-continue")
        raw.send(request("PUT", disk.image, None, *lines))
        assert raw.read().status == 100
        raw.send(b"z" * 100)
        assert raw.read().status == 204
    assert content(disk)[:100] == b"z" * 100


@pytest.mark.smoke
@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/plain", "application/x-qemu-disk", None])
def test_any_content_type(disk: Area, media_type: str | None) -> None:
    """Any or no Content-Type is accepted."""
    headers = {} if media_type is None else {"Content-Type": media_type}
    assert write(disk, 0, b"z" * 100, **headers).status_code == 204
    assert put_whole(disk, BODY[:100], **headers).status_code == 204


def test_an_empty_write(disk: Area) -> None:
    """A write of no bytes changes nothing."""
    response = disk.client.put(disk.image, content=b"", headers={"Content-Range": "bytes 5-4/*"})
    assert response.status_code in {204, 400}
    assert content(disk) == BODY


@pytest.mark.smoke
@pytest.mark.parametrize(("start", "length"), [(SIZE - 10, 11), (SIZE, 1), (SIZE + PAGE, 1), (2**60, 1), (0, SIZE + 1)])
def test_past_the_end_by_content_length(disk: Area, start: int, length: int) -> None:
    """Nothing is written past image_bytes: 413 at once where Content-Length says so, and nothing changes."""
    with disk.service.raw() as raw:
        raw.send(request("PUT", disk.image, None, f"Content-Range: bytes {start}-/*", f"Content-Length: {length}"))
        check_problem(raw.read(), 413, None, "kept")
    assert content(disk) == BODY


@pytest.mark.smoke
def test_past_the_end_by_counting(disk: Area) -> None:
    """Nothing is written past image_bytes: 413 when the end is reached, pages wholly old or wholly new."""
    start, data = 2 * PAGE, pages.incompressible(9) * 20
    with disk.service.raw() as raw:
        lines = (f"Content-Range: bytes {start}-/*", "Transfer-Encoding: chunked")
        raw.send_while_taken(request("PUT", disk.image, None, *lines) + chunked(data, PAGE, PAGE * 3))
        check_problem(raw.read(), 413, None, "kept")
    now = content(disk)
    assert len(now) == SIZE
    assert now[:start] == BODY[:start]
    for at in range(start, SIZE, PAGE):
        end = min(at + PAGE, SIZE)
        assert now[at:end] in {BODY[at:end], data[at - start : end - start]}
    assert disk.is_absent(11)
    assert disk.show()["configuration"]["image_bytes"] == SIZE


def test_a_smaller_image_leaves_nothing_behind(disk: Area) -> None:
    """A whole PUT replaces: what lay past its end does not come back when the image grows."""
    assert put_whole(disk, b"short").status_code == 204
    disk.configure(image_bytes=SIZE)
    assert content(disk) == b"short" + bytes(SIZE - 5)
    assert disk.numbers()["stored_pages"] == 1


@pytest.mark.smoke
def test_zeros_over_a_hole_leave_a_hole(area: Area) -> None:
    """Zeros written over a hole leave a hole; over a page they make a zero page."""
    area.configure(image_bytes=SIZE)
    assert write(area, 0, bytes(SIZE)).status_code == 204
    assert area.numbers()["stored_pages"] == 0
    area.store(2, pages.incompressible())
    assert write(area, 100, bytes(5 * PAGE)).status_code == 204
    assert content(area) == bytes(SIZE)
    numbers = area.numbers()
    assert (numbers["stored_pages"], numbers["zero_pages"], numbers["pool_bytes"]) == (1, 1, 0)


def test_zeros_of_a_whole_image_are_holes(area: Area) -> None:
    """A whole image's runs of zeros cost nothing."""
    assert put_whole(area, bytes(50 * PAGE) + b"end").status_code == 204
    assert area.numbers()["stored_pages"] == 1
    assert content(area) == bytes(50 * PAGE) + b"end"


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("tunables", "status", "code"),
    [({"enabled": False}, 503, "stores_disabled"), ({"max_pool_bytes": 1}, 507, "pool_full")],
)
def test_a_refused_write_leaves_all_as_it_was(disk: Area, tune, tunables, status: int, code: str) -> None:
    """The stale-copy rule does not apply: a refused write says `kept`, and every byte is as it was."""
    tune(**tunables)
    for start, length in ((0, PAGE), (100, 50), (5000, 9000)):
        data = random.Random(start).randbytes(length)
        check_problem(write(disk, start, data), status, code, "kept")
        assert content(disk) == BODY
    assert disk.numbers()["stored_pages"] > 0


def test_a_refused_whole_image_drops_no_page(disk: Area, tune) -> None:
    """A whole PUT that is refused drops no page and leaves the size."""
    tune(max_pool_bytes=1)
    new = b"".join(pages.incompressible(n) for n in range(30))
    check_problem(put_whole(disk, new), 507, "pool_full", "kept")
    now = content(disk)
    assert len(now) == SIZE
    for at in range(0, SIZE, PAGE):
        assert now[at : at + PAGE] in {BODY[at : at + PAGE], new[at : at + PAGE][: SIZE - at]}


def test_zeros_are_welcome_in_a_full_pool(disk: Area, tune) -> None:
    """Zeros can be written over an image when the pool is full: that makes room."""
    tune(max_pool_bytes=1)
    assert write(disk, PAGE, bytes(3 * PAGE)).status_code == 204
    assert content(disk) == BODY[:PAGE] + bytes(3 * PAGE) + BODY[4 * PAGE :]


def test_two_halves_of_one_page(area: Area) -> None:
    """Two clients that write the two halves of one page at once both succeed."""
    area.configure(image_bytes=4 * PAGE)
    clients = [area.service.new_client() for _ in range(4)]

    def put(index: int, round_: int) -> int:
        quarter = bytes([1 + index * 50 + round_]) * 1024
        headers = {"Content-Range": f"bytes {PAGE + 1024 * index}-/*"}
        return clients[index].put(area.image, content=quarter, headers=headers).status_code

    with ThreadPoolExecutor(4) as writers:
        for round_ in range(25):
            assert list(writers.map(put, range(4), [round_] * 4)) == [204] * 4
            expected = b"".join(bytes([1 + index * 50 + round_]) * 1024 for index in range(4))
            assert area.load(1) == expected
    for client in clients:
        client.close()


@pytest.mark.smoke
@pytest.mark.parametrize("framing", ["Content-Length: 30000", "Transfer-Encoding: chunked"])
def test_a_client_that_hangs_up_half_way(disk: Area, framing: str) -> None:
    """A client that hangs up half-way leaves each page wholly old or wholly new, and the size as it was."""
    data = random.Random(3).randbytes(30000)
    with disk.service.raw() as raw:
        raw.send(request("PUT", disk.image, None, "Content-Range: bytes 1000-/*", framing))
        raw.send((b"3a98\r\n" if "chunked" in framing else b"") + data[:15000])
        raw.half_close()
        raw.received_before_close()
    new = BODY[:1000] + data + BODY[31000:]
    now = content(disk)
    for at in range(0, SIZE, PAGE):
        assert now[at : at + PAGE] in {BODY[at : at + PAGE], new[at : at + PAGE]}
    with disk.service.raw() as raw:
        raw.send(request("PUT", disk.image, None, framing))
        raw.send((b"3a98\r\n" if "chunked" in framing else b"") + data[:15000])
        raw.half_close()
        raw.received_before_close()
    assert disk.client.head(disk.image).headers["content-length"] == str(SIZE)


def test_large_image_through_and_through(area: Area) -> None:
    """An image of many extents goes in and comes out the same, by parts of odd sizes."""
    body = b"".join(pages.real(1000)) * 3 + b"tail"
    assert put_whole(area, body).status_code == 204
    assert content(area) == body
    at = 0
    for size in (1, 4095, 4097, 1_000_000, 3_000_001, 10**9):
        part = read(area, f"bytes={at}-{at + size - 1}").content
        assert part == body[at : at + size]
        at += size
        if at >= len(body):
            break


@pytest.mark.smoke
def test_a_slow_reader_and_others(area: Area) -> None:
    """A reader that stops reading holds up nobody, and a client that leaves in mid-stream does no harm."""
    area.configure(image_bytes=1 << 40)
    with area.service.raw() as slow, area.service.raw() as leaver:
        slow.send(request("GET", area.image))
        leaver.send(request("GET", area.image))
        assert slow.read_head()[0] == 200
        assert leaver.read_head()[0] == 200
        for _ in range(20):
            assert area.client.get("/livez").status_code == 200
            assert read(area, "bytes=0-9").content == bytes(10)
    until(lambda: area.client.get("/livez").status_code == 200, 5, "others are served")


def test_memory_is_flat_while_a_sparse_image_streams(area: Area) -> None:
    """The whole image is streamed in bounded memory."""
    size = 512 << 20
    area.configure(image_bytes=size)
    area.store(7, pages.incompressible())
    before = area.service.resident_bytes()
    received = 0
    most = before
    with area.client.stream("GET", area.image) as response:
        for index, part in enumerate(response.iter_raw()):
            received += len(part)
            if index % 500 == 0:
                most = max(most, area.service.resident_bytes())
    assert received == size
    assert most - before < 64 << 20


@pytest.mark.smoke
def test_wrong_methods(area: Area) -> None:
    """An image is read with HEAD and GET and written with PUT; other methods are 405 with `Allow`."""
    for method in ("DELETE", "POST", "PATCH"):
        response = area.client.request(method, area.image)
        check_problem(response, 405, "method_not_allowed")
        assert {each.strip() for each in response.headers["allow"].split(",")} >= {"GET", "HEAD", "PUT"}


def test_a_malformed_type(area: Area) -> None:
    """The image of what is no type is 422 `bad_address`."""
    check_problem(area.client.get("/v1/types/01/image"), 422, "bad_address")
    check_problem(area.client.put("/v1/types/x/image", content=b""), 422, "bad_address", "kept")
