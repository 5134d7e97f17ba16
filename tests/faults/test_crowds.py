"""Many clients at once, slow ones, and those that vanish (contract 3.6): memory is bounded, the others are served."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.harness import pages
from tests.harness.area import OCTETS, Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import BrokenAnswer, RawConnection, request
from tests.harness.redis_server import until
from tests.harness.service import Service

OWN_SERVICE = True
MIB = 1 << 20
BYTES_IN_FLIGHT = 16 * MIB
PROGRESS_SECONDS = 2.0
RAW = [pages.incompressible(n) for n in range(64)]
EXTENT = b"".join(RAW * 8)
PAGE = RAW[0]


@pytest.fixture(scope="module", params=["protocol", pytest.param("asgi", marks=pytest.mark.soak)])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service with narrow bounds."""
    settings = {
        "door": request.param,
        "max_bytes_in_flight": str(BYTES_IN_FLIGHT),
        "max_requests_in_flight": "64",
        "progress_timeout": str(PROGRESS_SECONDS),
        "max_pool_bytes": "0",
    }
    with Service(**settings) as running:
        yield running


@pytest.fixture
def area(service: Service) -> Area:
    """A type with one large extent in it."""
    area = Area(service, 1)
    area.store(0, EXTENT)
    return area


def connections(service: Service, count: int, stack: ExitStack) -> list[RawConnection]:
    """So many connections, closed by the stack."""
    made = []
    for _ in range(count):
        made.append(service.raw(30))
        stack.callback(made[-1].close)
    return made


def in_flight(service: Service) -> int:
    """Requests under way, as the service itself counts them; the one that asks is not among them."""
    return int(service.metrics().value("pagepool_requests_in_flight")) - 1


def nothing_in_flight(service: Service) -> bool:
    """Whether every request under way has ended."""
    return in_flight(service) <= 0


def test_a_thousand_connections(area: Area) -> None:
    """A thousand connections, each stores a page and loads it: all are served, in bounded memory."""
    service = area.service
    before = service.resident_bytes()
    with ExitStack() as stack:
        many = connections(service, 1000, stack)
        for number, connection in enumerate(many):
            connection.send(request("PUT", area.url(1000 + number), RAW[number % 64]))
        for number, connection in enumerate(many):
            answer = connection.read("PUT")
            while answer.status == 503:  # over the bound of requests at once: that is what Retry-After is for
                assert answer.header("retry-after") is not None
                connection.send(request("PUT", area.url(1000 + number), RAW[number % 64]))
                answer = connection.read("PUT")
            assert answer.status == 204
        for start in range(0, 1000, 50):
            for number in range(start, start + 50):
                many[number].send(request("GET", area.url(1000 + number)))
            for number in range(start, start + 50):
                answer = many[number].read()
                assert (answer.status, answer.body) == (200, RAW[number % 64])
        assert service.resident_bytes() - before < 64 * MIB
    until(lambda: nothing_in_flight(service), 10, "nothing is in flight")


def test_slow_senders(area: Area) -> None:
    """Slow senders are refused past the bound, none is cut while it makes progress, one that stalls is."""
    service = area.service
    head = request("PUT", area.url(0), EXTENT)[: -len(EXTENT)]
    with ExitStack() as stack:
        slow = connections(service, 8, stack)  # eight of 2 MiB are all that may be in flight
        for connection in slow:
            connection.send(head + EXTENT[:1000])
        until(lambda: in_flight(service) >= 8, 5, "the bound is reached")
        check_problem(area.put(700, PAGE), 503, "overloaded", "kept")
        assert service.client.get("/livez").status_code == 200
        sent = 1000
        steady, stalled = slow[:3], slow[3:]
        began = time.monotonic()
        while time.monotonic() - began < PROGRESS_SECONDS * 2.5:
            time.sleep(PROGRESS_SECONDS / 5)
            for connection in steady:
                connection.send(EXTENT[sent : sent + 100])
            sent += 100
        for connection in steady:
            connection.send(EXTENT[sent:])
        for connection in steady:
            assert connection.read("PUT").status == 204
        for connection in stalled:
            with suppress(BrokenAnswer):
                assert connection.read("PUT").status == 408
            assert connection.is_closed()
    assert area.put(700, PAGE).status_code == 204
    assert area.load(0, 512) == EXTENT
    until(lambda: nothing_in_flight(service), 10, "nothing is in flight")


def test_slow_readers(area: Area) -> None:
    """Clients that ask for much and read nothing: memory stays bounded, they are sent away, the others are served."""
    service = area.service
    before = service.resident_bytes()
    with ExitStack() as stack:
        idle = connections(service, 60, stack)
        # The kernel takes an answer or two, and a stock server keeps all that are asked for, and does not tell.
        is_counted = service.settings["door"] == "protocol"
        for connection in idle:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.send(request("GET", area.url(0) + "?count=512") * (4 if is_counted else 1))
            answer = area.get(0)
            if answer.status_code == 503:
                break  # before those who came first are sent away
        if is_counted:
            check_problem(answer, 503, "overloaded")
        assert service.resident_bytes() - before < BYTES_IN_FLIGHT * 2 + 32 * MIB
        until(lambda: area.get(0).status_code == 200, PROGRESS_SECONDS * 4 + 5, "those who do not read are sent away")
        assert area.load(0, 512) == EXTENT
    until(lambda: nothing_in_flight(service), 10, "nothing is in flight")


@pytest.mark.soak
def test_a_slow_reader_that_reads(area: Area) -> None:
    """A client that reads slowly, but does, has the whole answer, however much longer than the timeout that takes."""
    with area.service.raw(30) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.send(request("GET", area.url(0) + "?count=512"))
        status, headers = connection.read_head()
        assert status == 200
        body = connection.buffer
        began = time.monotonic()
        while time.monotonic() - began < PROGRESS_SECONDS * 2.5:
            body += connection.socket.recv(50_000)
            time.sleep(PROGRESS_SECONDS / 10)
        connection.buffer = b""
        body += connection._exactly(int(dict(headers)["content-length"]) - len(body))
        assert body == EXTENT


def test_clients_that_vanish(area: Area) -> None:
    """Clients that reset their connection anywhere in a request leave nothing behind: all may be used again."""
    service = area.service
    store = request("PUT", area.url(2000), EXTENT)
    load = request("GET", area.url(0) + "?count=512")
    for attempt in range(60):
        connection = service.raw()
        connection.send_while_taken([store[:50], store[:100_000], store, load, load * 3][attempt % 5])
        if attempt % 2:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    until(lambda: nothing_in_flight(service), 10, "nothing is in flight")
    assert area.put(0, EXTENT).status_code == 204
    assert area.load(0, 512) == EXTENT
    with ExitStack() as stack:
        # All of the bound can be used: nothing of those that vanished is held.
        for connection in connections(service, 7, stack):
            connection.send(store[:1000])
        until(lambda: in_flight(service) >= 7, 5, "seven are in flight")
        assert area.get(0).status_code == 200
    until(lambda: nothing_in_flight(service), 10, "nothing is in flight")


def test_a_flood_of_extents(area: Area) -> None:
    """While others store large extents without a pause, single loads are served: all of them come to their end."""
    is_over = threading.Event()
    stored: list[int] = []

    def flood(type_: int) -> None:
        with area.service.new_client() as client:
            while not is_over.is_set():
                answer = client.put(f"/v1/pages/{type_}/0", content=EXTENT, headers=OCTETS)
                assert answer.status_code in {204, 503}
                stored.append(answer.status_code)

    threads = [threading.Thread(target=flood, args=(type_,)) for type_ in range(10, 14)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(stored) >= 4, 20, "the flood has begun")
        for number in range(100):
            assert area.get(number).content == RAW[number % 64]
        assert area.put(5000, PAGE).status_code == 204
    finally:
        is_over.set()
        for thread in threads:
            thread.join(20)
    assert 204 in stored


@pytest.mark.soak
def test_more_connections_than_allowed() -> None:
    """A connection past the bound is told `overloaded` and closed; the others go on."""
    with Service(max_connections="20", max_pool_bytes="0") as service, ExitStack() as stack:
        area = Area(service, 1)
        many = connections(service, 19, stack)
        for connection in many:
            connection.send(request("GET", area.url(0)))
            assert connection.read().status == 404
        with service.raw() as extra:
            answer = extra.read()
            check_problem(answer, 503, "overloaded")
            assert extra.is_closed()
        many[0].send(request("PUT", area.url(0), PAGE))
        assert many[0].read("PUT").status == 204
