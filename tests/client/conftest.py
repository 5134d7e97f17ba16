"""A service for the client's tests, and a type of its own for each.

PAGEPOOL_TEST_URL names a running service to use instead of the one that ships with the tests.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pagepool_client import Client

from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService

_types = itertools.count(2_000_000 + os.getpid() % 1000 * 1000)
_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def _fake_of_the_session() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def fake(_fake_of_the_session: FakeService) -> FakeService:
    """A service that can be made to misbehave."""
    _fake_of_the_session.reset()
    return _fake_of_the_session


@pytest.fixture(scope="session")
def pool_url() -> Iterator[str]:
    """Where a well-behaved service answers."""
    if url := os.environ.get("PAGEPOOL_TEST_URL"):
        yield url
        return
    with FakeService() as service:
        yield service.url


@pytest.fixture
def pool(pool_url: str) -> Iterator[Client]:
    with Client(pool_url) as client:
        yield client


@pytest.fixture
def area(pool: Client) -> Iterator[int]:
    """A type that no other test uses."""
    type_ = next(_types)
    yield type_
    pool.delete_type(type_)


@pytest.fixture(scope="session")
def mixed_pages() -> bytes:
    """1500 pages of every kind, zero runs long and short among them."""
    chance = random.Random(7)
    pages = []
    while len(pages) < 1500:
        kind = chance.choice(["zeros", "zero", "same", "text", "text", "noise"])
        if kind == "zeros":
            pages += [bytes(PAGE_SIZE)] * chance.randint(2, 40)
        elif kind == "zero":
            pages.append(bytes(PAGE_SIZE))
        elif kind == "same":
            pages += [chance.randbytes(8) * (PAGE_SIZE // 8)] * chance.randint(1, 3)
        elif kind == "text":
            pages.append((b"page %d " % len(pages) * 600)[:PAGE_SIZE])
        else:
            pages.append(chance.randbytes(PAGE_SIZE))
    return b"".join(pages[:1500])


@pytest.fixture(scope="session")
def snapshot() -> Path:
    """The memory of a real machine."""
    path = _DATA / "snapshot-a.bin"
    if not path.exists():
        pytest.skip("../shared/data/snapshot-a.bin is not here")
    return path
