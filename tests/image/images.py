"""What is done to an image in most tests: it must succeed."""

from __future__ import annotations

import random

from tests.harness import pages
from tests.harness.area import Area

SIZE = 6 * (1 << 20) + 5 * 4096 + 1536
"""Several pieces and writes, and no whole number of pages; a whole number of sectors, as disks have."""


def disk_bytes(size: int = SIZE, seed: int = 0) -> bytes:
    """Bytes of a disk: pages of all kinds, and long holes between them."""
    chance = random.Random(seed)
    body = bytearray()
    while len(body) < size:
        body += bytes(chance.randrange(1, 1 << 19)) if chance.random() < 0.4 else b"".join(pages.mixed(40, len(body)))
    return bytes(body[:size])


def url_of(area: Area) -> str:
    """The image's URL."""
    return f"{area.service.origin}{area.image}"


def read(area: Area, start: int, end: int) -> bytes:
    """GET of a range that must succeed."""
    response = area.client.get(area.image, headers={"Range": f"bytes={start}-{end - 1}"})
    assert response.status_code == 206, response.text
    return response.content


def write(area: Area, start: int, body: bytes) -> None:
    """PUT at a place that must succeed."""
    headers = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/*"}
    response = area.client.put(area.image, content=body, headers=headers)
    assert response.status_code == 204, response.text


def put_whole(area: Area, body: bytes) -> None:
    """PUT of the whole that must succeed."""
    response = area.client.put(area.image, content=body)
    assert response.status_code == 204, response.text


def content(area: Area) -> bytes:
    """GET of the whole that must succeed."""
    response = area.client.get(area.image)
    assert response.status_code == 200, response.text
    return response.content
