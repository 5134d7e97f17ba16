"""An image beside a bytearray: whatever is written where, both read the same."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.raw_http import chunked, request
from tests.harness.service import Service
from tests.image.images import content, put_whole, read, write

PAGE = pages.PAGE_SIZE
SIZE = 150 * PAGE + 1001

fills = st.sampled_from([b"\0", b"\0", b"\x01", b"words of 8", pages.incompressible(1), pages.compressible(1)])
places = st.one_of(
    st.integers(0, SIZE - 1),
    st.builds(lambda page, off: min(max(page * PAGE + off, 0), SIZE - 1), st.integers(0, 150), st.integers(-2, 2)),
)
lengths = st.one_of(st.integers(1, 3 * PAGE), st.integers(1, 80).map(lambda count: count * PAGE), st.integers(1, SIZE))
steps = st.one_of(
    st.tuples(st.sampled_from(["write", "write chunked"]), places, lengths, fills),
    st.tuples(st.just("read"), places, lengths, fills),
    st.tuples(st.just("replace"), st.integers(0, 3 * PAGE), st.just(0), fills),
    st.tuples(st.just("invalidate"), st.integers(0, 150), st.integers(1, 70), fills),
)


def filled(length: int, fill: bytes) -> bytes:
    return (fill * (length // len(fill) + 1))[:length]


@pytest.mark.smoke
@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=1, max_size=15))
def test_an_image_is_a_bytearray(area: Area, history: list[tuple[str, int, int, bytes]]) -> None:
    """After any history of writes, reads, replacements and invalidated pages the image's bytes are the model's."""
    area.drop()
    area.configure(image_bytes=SIZE)
    model = bytearray(SIZE)
    for step, place, length, fill in history:
        end = min(place + length, len(model))
        if step.startswith("write") and place < end:
            data = filled(end - place, fill)
            if step == "write":
                write(area, place, data)
            else:
                with area.service.raw() as raw:
                    lines = (f"Content-Range: bytes {place}-/*", "Transfer-Encoding: chunked")
                    raw.send(request("PUT", area.image, None, *lines) + chunked(data, 1, 4095, 70_000, 5))
                    assert raw.read().status == 204
            model[place:end] = data
        elif step == "read" and place < end:
            assert read(area, place, end) == model[place:end]
        elif step == "replace":
            model = bytearray(filled(SIZE - place, fill))
            put_whole(area, bytes(model))
        elif step == "invalidate":
            assert area.over_ranges("invalidate", (place, length)).status_code == 200
            first, behind = place * PAGE, min((place + length) * PAGE, len(model))
            model[first:behind] = bytes(max(behind - first, 0))
    assert content(area) == bytes(model)
    data_pages = sum(any(page) for page in pages.split(bytes(model)))
    numbers = area.numbers()
    assert numbers["stored_pages"] - numbers["zero_pages"] == data_pages


@pytest.mark.parametrize("page_size", [8192, 65536])
def test_larger_pages(start_service, page_size: int) -> None:
    """An image of a pool with larger pages is written and read at any place as well."""
    service: Service = start_service(page_size=str(page_size))
    area = Area(service, 1, page_size)
    body = bytearray(b"".join(pages.mixed(500)) + b"tail")
    put_whole(area, bytes(body))
    for start, length in ((1, 1), (page_size - 1, 2), (100_000, 300_000), (len(body) - 3, 3)):
        write(area, start, b"\x5a" * length)
        body[start : start + length] = b"\x5a" * length
        assert read(area, max(start - 10, 0), start + length) == body[max(start - 10, 0) : start + length]
    assert content(area) == bytes(body)
