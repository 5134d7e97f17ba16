"""A disk to work on."""

from __future__ import annotations

import pytest

from tests.harness.area import Area
from tests.image.images import disk_bytes, put_whole


@pytest.fixture(scope="session")
def body() -> bytes:
    """What is on the disk."""
    return disk_bytes()


@pytest.fixture
def disk(area: Area, body: bytes) -> Area:
    """A type whose image is `body`."""
    put_whole(area, body)
    return area
