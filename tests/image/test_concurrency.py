"""Several clients of one image at once."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.image.images import SIZE, content, disk_bytes, read, write

PAGE = pages.PAGE_SIZE


@pytest.mark.smoke
def test_parts_of_one_page(area: Area) -> None:
    """Clients that write the parts of one page at once, each its own, all succeed."""
    area.configure(image_bytes=3 * PAGE)
    parts = 8
    length = PAGE // parts
    rounds = [[random.Random(turn * parts + part).randbytes(length) for part in range(parts)] for turn in range(25)]
    together = Barrier(parts)

    def write_part(part: int) -> None:
        headers = {"Content-Range": f"bytes {PAGE + part * length}-/*"}
        with area.service.new_client() as client:
            for turn in range(len(rounds)):
                together.wait(30)
                response = client.put(area.image, content=rounds[turn][part], headers=headers)
                assert response.status_code == 204, response.text
                together.wait(30)
                if part == 0:
                    assert read(area, PAGE, 2 * PAGE) == b"".join(rounds[turn])

    with ThreadPoolExecutor(parts) as writers:
        list(writers.map(write_part, range(parts)))
    assert area.numbers()["stored_pages"] == 1


@pytest.mark.smoke
def test_different_parts(disk: Area, body: bytes) -> None:
    """Clients that write and read different parts at once do not touch each other's bytes."""
    new = disk_bytes(seed=9)
    cuts = [0, 70_001, 70_003, 1 << 20, 2_222_222, 5 * PAGE + (3 << 20), SIZE]
    parts = list(pairwise(cuts))
    written, left = parts[::2], parts[1::2]

    def use(part: tuple[int, int]) -> None:
        start, end = part
        chance = random.Random(start)
        client = area_client()
        with client:
            if part in written:
                at = start
                while at < end:
                    length = min(chance.randrange(1, 150_000), end - at)
                    headers = {"Content-Range": f"bytes {at}-{at + length - 1}/{SIZE}"}
                    data = new[at : at + length]
                    assert client.put(disk.image, content=data, headers=headers).status_code == 204
                    at += length
                return
            for _ in range(10):
                response = client.get(disk.image, headers={"Range": f"bytes={start}-{end - 1}"})
                assert response.content == body[start:end]

    area_client = disk.service.new_client
    with ThreadPoolExecutor(len(parts)) as users:
        list(users.map(use, parts))
    expected = bytearray(body)
    for start, end in written:
        expected[start:end] = new[start:end]
    assert content(disk) == bytes(expected)
    assert left


def test_pages_and_images_at_once(area: Area) -> None:
    """A page that is stored or taken while a part of it is written is wholly the one or wholly the other."""
    area.configure(image_bytes=PAGE)
    whole = pages.incompressible(4)

    def write_part() -> None:
        for _ in range(60):
            write(area, 100, b"part")

    def store_and_take() -> None:
        client = area.service.new_client()
        with client:
            for _ in range(60):
                url, headers = area.url(0), {"Content-Type": "application/octet-stream"}
                assert client.put(url, content=whole, headers=headers).status_code == 204
                assert client.post(url + "/take").status_code in {200, 404}

    with ThreadPoolExecutor(2) as both:
        for done in (both.submit(write_part), both.submit(store_and_take)):
            done.result()
    now = read(area, 0, PAGE)
    parted = [page[:100] + b"part" + page[104:] for page in (whole, bytes(PAGE))]
    assert now in {whole, bytes(PAGE), *parted}
