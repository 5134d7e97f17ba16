from __future__ import annotations

import socket
import threading

import pytest
from pagepool_client import (
    Client,
    NoAnswer,
    NotReachable,
    Overloaded,
    PoolFull,
    Problem,
    Retries,
    StoresDisabled,
)

from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService

PAGE = b"\x80" * PAGE_SIZE
OVERLOADED = {"code": "overloaded", "title": "Overloaded", "previous": "kept"}


class Waits(list[float]):
    """Takes the place of `sleep`, and keeps what it was asked for."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(fake: FakeService, waits: Waits) -> Client:
    retries = Retries(attempts=3, base_seconds=0.5, jitter=lambda: 0.5)
    with Client(fake.url, retries=retries, sleep=waits) as client:
        yield client


def test_retry_after_is_honoured(fake: FakeService, client: Client, waits: Waits) -> None:
    """An answer with Retry-After is waited for as long as it says, plus jitter that grows, then asked again."""
    fake.answer_next(503, OVERLOADED, retry_after="2")
    fake.answer_next(429, {"code": "slow_down"}, retry_after="3")
    client.store(1, 0, PAGE)
    assert waits == [2.25, 3.5]
    assert fake.requests == ["PUT /v1/pages/1/0"] * 3


def test_a_full_pool_may_be_retried(fake: FakeService, client: Client, waits: Waits) -> None:
    """507 with Retry-After is repeated; when it stays, the error of the last answer is raised."""
    fake.max_pages = 0
    with pytest.raises(PoolFull) as caught:
        client.store(1, 0, PAGE)
    assert (caught.value.previous, caught.value.stored, caught.value.rejected) == ("invalidated", 0, ((0, 1),))
    assert caught.value.retry_after == 1
    assert len(waits) == 2
    assert len(fake.requests) == 3


def test_no_retry_after_no_retry(fake: FakeService, client: Client, waits: Waits) -> None:
    """An answer without Retry-After is final, whatever its status."""
    fake.parameters["enabled"] = False
    with pytest.raises(StoresDisabled):
        client.store(1, 0, PAGE)
    fake.answer_next(503, {"code": "pages_lost"})
    with pytest.raises(Problem):
        client.load(1, 0)
    assert waits == []


def test_other_statuses_are_not_retried(fake: FakeService, client: Client, waits: Waits) -> None:
    """Retry-After on a status that is not 429, 503 or 507 is no invitation."""
    fake.answer_next(500, {"code": "internal_error"}, retry_after="1")
    with pytest.raises(Problem):
        client.load(1, 0)
    assert waits == []


def test_take_is_never_retried(fake: FakeService, client: Client, waits: Waits) -> None:
    """A take whose answer was lost took the page: it is sent once."""
    fake.answer_next(503, OVERLOADED, retry_after="1")
    with pytest.raises(Overloaded):
        client.take(1, 0)
    assert waits == []


@pytest.mark.parametrize("precondition", ["if_match", "if_none_match"])
def test_stores_under_preconditions_are_never_retried(
    fake: FakeService, client: Client, waits: Waits, precondition: str
) -> None:
    """The second of two conditional stores would find the first one's page."""
    fake.answer_next(503, OVERLOADED, retry_after="1")
    with pytest.raises(Overloaded):
        client.store(1, 0, PAGE, **{precondition: "*"})
    fake.answer_next(503, OVERLOADED, retry_after="1")
    with pytest.raises(Overloaded):
        client.invalidate(1, 0, if_match="*")
    assert waits == []


def test_a_wait_that_is_too_long_is_not_waited(fake: FakeService, client: Client, waits: Waits) -> None:
    """A service that asks for more patience than the client has gets no second attempt."""
    fake.answer_next(503, OVERLOADED, retry_after="3600")
    with pytest.raises(Overloaded):
        client.load(1, 0)
    assert waits == []


def test_retry_after_as_a_date(fake: FakeService, client: Client, waits: Waits) -> None:
    """Retry-After may be a date; one that has passed means at once."""
    fake.answer_next(503, OVERLOADED, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    client.store(1, 0, PAGE)
    assert waits == [0.25]


def test_a_service_that_is_not_there(waits: Waits) -> None:
    """A connection that is refused is tried again, with growing waits, and is a NotReachable in the end."""
    with FakeService() as gone:
        url = gone.url
    with (
        Client(url, retries=Retries(attempts=4, base_seconds=1, jitter=lambda: 1.0), sleep=waits) as client,
        pytest.raises(NotReachable, match=url),
    ):
        client.load(1, 0)
    assert waits == [1, 2, 4]


class TestCutConnections:
    """A service that reads a request and hangs up."""

    @pytest.fixture
    def cut_url(self) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        self.accepted = 0

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                self.accepted += 1
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\nshort")
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()

    def test_loads_are_repeated(self, cut_url: str, waits: Waits) -> None:
        """A load changes nothing, so a cut answer is asked for again; it is never taken for a whole one."""
        with Client(cut_url, retries=Retries(attempts=2), sleep=waits) as client, pytest.raises(NoAnswer):
            client.load(1, 0)
        assert self.accepted == 2

    def test_stores_are_not(self, cut_url: str, waits: Waits) -> None:
        """What became of a store whose answer was cut is unknown: the caller has to say."""
        with Client(cut_url, retries=Retries(attempts=2), sleep=waits) as client, pytest.raises(NoAnswer):
            client.store(1, 0, PAGE)
        assert self.accepted == 1
