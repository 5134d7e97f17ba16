"""The protocol door: order, hand-over to uvicorn and back, time limits, flow control, and what is counted in flight.

`open_door.opened` checks, when each test ends, that nothing is counted any more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from app.serve import door as door_module
from app.serve.door import Door
from tests.harness.raw_http import request
from tests.serve.open_door import PAGE, Client, opened, run

LOAD = request("GET", "/v1/pages/1/1")
STORE = request("PUT", "/v1/pages/1/1", PAGE)
ODD = request("GET", "/odd")
HALF_HEAD = b"GET /odd HTTP/1.1\r\nHost: loc"
HALF_BODY = STORE[:-1000]
QUICK = {"header_timeout": 0.3, "keep_alive_timeout": 0.6, "progress_timeout": 0.4}
EXPECT_OF_A_STORE = STORE.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1)


def code(body: bytes) -> str:
    return json.loads(body)["code"]


# Order


def test_plain_and_other_requests_are_answered_in_order() -> None:
    """Whichever of the two protocols answers, answers come in the order of the requests."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            await client.send((STORE + ODD + LOAD + LOAD + ODD + ODD) * 20)
            for _ in range(20):
                assert (await client.answer("PUT"))[0] == 204
                assert (await client.answer())[2] == b"ok"
                for _ in range(2):
                    assert (await client.answer())[2] == PAGE
                for _ in range(2):
                    assert (await client.answer())[2] == b"ok"

    run(story)


def test_a_pipeline_cut_anywhere_is_the_same() -> None:
    """How a pipeline is cut into segments makes no difference."""

    async def story() -> None:
        async with opened() as door:
            wire = STORE + ODD + LOAD + request("GET", "/v1/pages/1/9") + EXPECT_OF_A_STORE + LOAD
            for at in range(1, len(wire), 97):
                client = await door.client()
                await client.send(wire[:at])
                await asyncio.sleep(0)
                await client.send(wire[at:])
                statuses = [(await client.answer())[0] for _ in range(7)]
                assert statuses == [204, 200, 200, 404, 100, 204, 200]
                client.vanish()

    run(story)


def test_garbage_does_not_overtake_an_answer() -> None:
    """What is no HTTP is refused after the requests before it are answered, be they uvicorn's or the door's."""

    async def story() -> None:
        async with opened() as door:
            for first in (request("GET", "/hold"), LOAD):
                door.pool.pages[1, 1] = PAGE
                door.pool.is_held = True
                door.behind.go_on.clear()
                client = await door.client()
                await client.send(first + b"\0garbage\r\n\r\n")
                assert await client.is_quiet()
                door.pool.let_go()
                door.behind.go_on.set()
                assert (await client.answer())[0] == 200
                status, headers, body = await client.answer()
                assert (status, code(body), headers["connection"]) == (400, "bad_request", "close")
                assert headers["x-request-id"]
                assert await client.rest() == b""

    run(story)


def test_a_broken_body_is_refused_behind_the_answers_before_it() -> None:
    """A bad chunk of a pipelined request is its own fault: the request before it is answered."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            broken = b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            await client.send(request("GET", "/hold") + broken)
            assert await client.is_quiet()
            door.behind.go_on.set()
            assert (await client.answer())[0] == 200
            assert (await client.answer())[0] == 400
            assert await client.rest() == b""
            assert door.behind.seen == ["/hold"]

            client = await door.client()
            await client.send(broken)
            assert (await client.answer())[0] == 400
            assert await client.rest() == b""
            await door.until(lambda: not door.behind.under_way, "the application has noticed")

    run(story)


# Hand-over


def test_an_upgrade_is_ignored_with_what_follows() -> None:
    """No other protocol is spoken: requests behind one that asks for it are answered as ever."""

    async def story() -> None:
        async with opened() as door:
            door.pool.pages[1, 1] = PAGE
            client = await door.client()
            upgrade = request("GET", "/odd", None, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
            await client.send(upgrade + LOAD + upgrade + ODD + LOAD)
            assert [(await client.answer())[2] for _ in range(5)] == [b"ok", PAGE, b"ok", b"ok", PAGE]

    run(story)


def test_empty_lines_before_a_request_are_ignored() -> None:
    """As RFC 9112, 2.2 asks for, in any number."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            door.pool.pages[1, 1] = PAGE
            for _ in range(3):
                await client.send(b"\r\n\r\n\r\n" + LOAD + b"\r\n" + ODD + b"\r\n\r\n")
                assert (await client.answer())[2] == PAGE
                assert (await client.answer())[2] == b"ok"

    run(story)


def test_an_early_answer_does_not_upset_what_follows() -> None:
    """An application may answer before the body has come: the rest is dropped, and the connection goes on."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            head = b"PUT /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
            await client.send(head + bytes(1000))
            assert (await client.answer())[2] == b"ok"
            await client.send(bytes(299_000) + STORE + LOAD)
            assert (await client.answer())[0] == 204
            assert (await client.answer())[2] == PAGE

    run(story)


def test_a_body_that_uvicorn_takes_arrives_whole() -> None:
    """Chunked, with Expect, or long: the application gets the bytes as they came."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            body = PAGE * 200
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
            await client.send(
                b"PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
                + b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body + ODD
            )  # fmt: skip
            for _ in range(3):
                assert (await client.answer())[2] == b"ok"
            assert door.behind.bodies == [body, body]

    run(story)


def test_many_requests_for_uvicorn_wait_outside() -> None:
    """Of a long pipeline only a bounded part is begun at once: each request costs memory from then on."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            await client.send(request("GET", "/hold"))
            await door.until(lambda: door.behind.under_way == 1, "the first request is under way")
            count = 3000
            sending = asyncio.create_task(client.send(b"GET /odd HTTP/1.1\r\nHost: a\r\n\r\n" * count))
            await asyncio.sleep(0.1)
            (connection,) = door.doors
            assert connection._inner is not None
            assert 0 < len(connection._inner.pipeline) < 300
            assert len(connection._inner._unparsed) < 1 << 19
            door.behind.go_on.set()
            for _ in range(count + 1):
                assert (await client.answer())[2] == b"ok"
            await sending

    run(story)


# Heads


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b'{"offset": 1}',
        b"\0",
        b"GET / HTTP/1.1\r\nX: \0",
        b"GET / HTTP/1.1\r\nX: 1\nY",
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(wire: bytes) -> None:
    """Nobody waits for the rest of it."""

    async def story() -> None:
        async with opened(header_timeout=1000.0) as door:
            client = await door.client()
            await client.send(wire)
            status, headers, body = await client.answer()
            assert (status, code(body), headers["connection"]) == (400, "bad_request", "close")
            assert await client.rest() == b""

    run(story)


@pytest.mark.parametrize("before", [b"", ODD, STORE, request("GET", "/hold")])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_head_over_the_limit(before: bytes, is_whole: bool) -> None:
    """431 and the end of the connection, also for a head that uvicorn parses; requests before it are answered."""

    async def story() -> None:
        async with opened(max_header_bytes=2000) as door:
            door.behind.go_on.set()
            client = await door.client()
            lines = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 100) for number in range(4000 if not is_whole else 40))
            await client.send(before)
            sending = asyncio.create_task(
                client.send(b"GET /odd HTTP/1.1\r\nHost: a\r\n" + lines + (b"\r\n" if is_whole else b""))
            )
            if before:
                assert (await client.answer())[0] in {200, 204}
            status, headers, body = await client.answer()
            assert (status, code(body), headers["connection"]) == (431, "head_too_large", "close")
            await asyncio.gather(sending, return_exceptions=True)

    run(story)


@pytest.mark.parametrize("before", [b"", ODD, STORE, ODD + LOAD, b"\r\n\r\n"])
def test_a_head_that_drips_in(before: bytes) -> None:
    """A head has its time from its first byte on, however often a further byte comes: then 408."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            door.pool.pages[1, 1] = PAGE
            client = await door.client()
            await client.send(before + b"GE")
            for _ in range(before.count(b"HTTP/1.1")):
                assert (await client.answer())[0] in {200, 204}
            began = time.monotonic()

            async def drip() -> None:
                for byte in b"T /odd HTTP/1.1\r\nX: " + b"x" * 1000:
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            status, headers, body = await client.answer()
            assert (status, code(body), headers["connection"]) == (408, "request_timeout", "close")
            assert time.monotonic() - began < 5
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

    run(story)


# Time


@pytest.mark.parametrize("before", [b"", b"\r\n\r\n", LOAD, ODD, STORE, ODD + LOAD, LOAD + ODD])
def test_an_idle_connection_is_closed(before: bytes) -> None:
    """Without a word: it may have sent nothing at all, empty lines, or whole requests to either protocol."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            client = await door.client()
            await client.send(before)
            for _ in range(before.count(b"HTTP/1.1")):
                await client.answer()
            assert await client.rest() == b""

    run(story)


def test_keep_alive_is_as_long_behind_uvicorn() -> None:
    """A connection that uvicorn served last is kept as long as any."""

    async def story() -> None:
        async with opened(header_timeout=0.1, progress_timeout=0.1, keep_alive_timeout=100.0) as door:
            for wire in (ODD, LOAD, STORE, LOAD + ODD):
                client = await door.client()
                await client.send(wire)
                for _ in range(wire.count(b"HTTP/1.1")):
                    await client.answer()
                assert await client.is_quiet(0.5)
                await client.send(LOAD)

    run(story)


def test_a_long_answer_has_its_time() -> None:
    """No limit is on the time that the service itself takes."""

    async def story() -> None:
        async with opened(header_timeout=0.1, progress_timeout=0.1, keep_alive_timeout=0.1) as door:
            door.pool.is_held = True
            plain, odd = await door.client(), await door.client()
            await plain.send(LOAD)
            await odd.send(request("GET", "/hold"))
            await asyncio.sleep(0.6)
            door.pool.let_go()
            door.behind.go_on.set()
            assert (await plain.answer())[0] == 404
            assert (await odd.answer())[0] == 200

    run(story)


def test_a_body_without_progress() -> None:
    """A store whose body stops coming is 408, and says that the page is as it was."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            client = await door.client()
            await client.send(HALF_BODY)
            await door.until(lambda: not door.holds_nothing, "the request is counted")
            status, headers, body = await client.answer()
            assert (status, code(body), headers["connection"]) == (408, "request_timeout", "close")
            assert json.loads(body)["previous"] == "kept"
            assert await client.rest() == b""
            await door.until(lambda: door.holds_nothing, "it is counted no longer")

    run(story)


def test_a_body_for_uvicorn_without_progress() -> None:
    """The connection ends; the application, had it a limit of its own, would have answered before."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            for path in ("/echo", "/early"):
                client = await door.client()
                await client.send(b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12" % path.encode())
                assert (await client.rest()).count(b"HTTP/1.1 ") == (path == "/early")

    run(story)


def test_who_goes_on_sending_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind an answer that came early the rest of the body is read for a while, and not for ever."""
    monkeypatch.setattr(door_module, "LINGER_SECONDS", 0.3)

    async def send_until_cut_off(client: Client) -> None:
        while True:
            await client.send(bytes(10))
            await asyncio.sleep(0.01)

    async def story() -> None:
        async with opened(**QUICK) as door:
            client = await door.client()
            await client.send(
                b"PUT /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9999999\r\n\r\n12"
            )
            assert (await client.rest()).count(b"HTTP/1.1 ") == 1
            with pytest.raises(ConnectionError):
                await send_until_cut_off(client)

    run(story)


def test_a_slow_body_is_taken() -> None:
    """Time is measured by lack of progress: a slow body that goes on is taken, by either protocol."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            plain, chunked = await door.client(), await door.client()
            await plain.send(STORE[:-4096])
            await chunked.send(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4096\r\n\r\n")
            for at in range(0, 4096, 256):
                await plain.send(PAGE[at : at + 256])
                await chunked.send(PAGE[at : at + 256])
                await asyncio.sleep(0.1)
            assert (await plain.answer())[0] == 204
            assert (await chunked.answer())[0] == 200
            assert door.behind.bodies == [PAGE]

    run(story)


# Flow


@pytest.mark.parametrize("wire", [request("GET", "/v1/pages/1/1?count=512"), request("GET", "/flood")])
@pytest.mark.parametrize("goes_on_sending", [True, False])
def test_a_client_that_does_not_read(wire: bytes, goes_on_sending: bool) -> None:
    """Is cut off after a while, whatever it sends meanwhile; what it sends is held back."""

    async def story() -> None:
        async with opened(**QUICK) as door:
            client = await door.client(receive_buffer=4096)
            client.writer.transport.pause_reading()
            await client.send(wire * 4)

            async def go_on() -> None:
                while goes_on_sending:
                    await client.send(wire * 1000)
                    await asyncio.sleep(0.01)

            sending = asyncio.create_task(go_on())
            await door.until(lambda: bool(door.doors), "it is connected")
            (connection,) = door.doors
            most = 0
            while door.state.connections:
                most = max(most, len(connection._buffer))
                await asyncio.sleep(0.005)
            assert most < 1 << 20
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(story)


def test_a_client_that_reads_slowly_is_served() -> None:
    """It is not cut as long as it takes something."""

    async def story() -> None:
        async with opened(progress_timeout=1.0) as door:
            client = await door.client(receive_buffer=1 << 18)
            await client.send(request("GET", "/v1/pages/1/1?count=512") * 3 + ODD)
            for _ in range(3):
                await client.reader.readuntil(b"\r\n\r\n")
                for _ in range(32):
                    await client.reader.readexactly(1 << 16)
                    await asyncio.sleep(0.02)
            assert (await client.answer())[2] == b"ok"

    run(story)


def test_a_held_answer_counts_until_it_is_sent() -> None:
    """The bytes of an answer are in flight until the client has taken them; requests behind it wait."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client(receive_buffer=4096)
            client.writer.transport.pause_reading()
            await client.send(request("GET", "/v1/pages/1/1?count=512") * 3)
            await door.until(lambda: not door.holds_nothing, "the request is counted")
            await asyncio.sleep(0.1)
            assert door.counted[0] == f"InFlight(1 requests, {512 * 4096} bytes)"
            client.writer.transport.resume_reading()
            for _ in range(3):
                assert len((await client.answer())[2]) == 512 * 4096
            assert door.holds_nothing

    run(story)


def test_a_client_may_send_far_ahead() -> None:
    """It is read from again once its requests are answered; none is lost."""

    async def story() -> None:
        async with opened() as door:
            door.pool.pages[1, 1] = PAGE
            door.pool.is_held = True
            client = await door.client()
            count = 3_000
            ahead = request("HEAD", "/v1/pages/1/1", None, f"X-Padding: {'x' * 6000}") * count
            sending = asyncio.create_task(client.send(ahead + ODD))
            await asyncio.sleep(0.1)
            assert not sending.done()
            assert len(door.doors[0]._buffer) < 1 << 20
            door.pool.let_go()
            for _ in range(count):
                assert (await client.answer("HEAD"))[0] == 200
            assert (await client.answer())[2] == b"ok"
            await sending

    run(story)


def test_a_large_body_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the piece with the head, no two large ones are read in one tick: small requests go in between."""
    tick = 0
    read_in: list[int] = []
    take_body = Door._take_body

    def take_and_note(door: Door, data: bytes) -> None:
        if len(data) > 1 << 16:
            read_in.append(tick)
        take_body(door, data)

    monkeypatch.setattr(Door, "_take_body", take_and_note)

    async def count_ticks() -> None:
        nonlocal tick
        while True:
            tick += 1
            await asyncio.sleep(0)

    async def story() -> None:
        async with opened() as door:
            counting = asyncio.create_task(count_ticks())
            client = await door.client()
            status, _, _ = await client.ask("PUT", "/v1/pages/1/0", PAGE * 512)
            assert status == 204
            assert len(door.pool.pages) == 512
            counting.cancel()
            behind_the_head = read_in[1:]
            assert len(behind_the_head) > 2
            assert len(set(behind_the_head)) == len(behind_the_head)

    run(story)


# Clients that vanish


@pytest.mark.parametrize(
    "wire",
    [
        b"", b"GE", HALF_HEAD, LOAD, LOAD + LOAD + HALF_HEAD, STORE, HALF_BODY, STORE + HALF_BODY, STORE + ODD,
        request("GET", "/hold"), request("GET", "/hold") + LOAD + HALF_HEAD, request("PUT", "/echo", PAGE)[:-1],
        ODD + HALF_HEAD, ODD + HALF_BODY, request("GET", "/flood"), EXPECT_OF_A_STORE[:-4096],
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_a_client_vanishes(wire: bytes, is_held: bool, half: bool) -> None:
    """In whatever phase, by a reset or by the end of what it sends: what runs ends, and nothing stays counted.

    While requests wait behind another the door does not read, and notices when it answers.
    """

    async def story() -> None:
        async with opened(progress_timeout=0.5) as door:
            door.pool.pages[1, 1] = PAGE
            door.pool.is_held = is_held
            client = await door.client()
            await client.send(wire)
            await door.until(lambda: len(door.state.connections) == 1, "it is connected")
            await asyncio.sleep(0.02)
            if half:
                client.writer.write_eof()
            else:
                client.vanish()
            if LOAD + HALF_HEAD not in wire:
                await door.until(lambda: not door.state.connections, "the connection is gone")
            door.behind.go_on.set()
            door.pool.let_go()
            await door.until(lambda: not door.state.connections, "the connection is gone")
            await door.until(lambda: door.holds_nothing, "nothing is in flight")

    run(story)


# Shutdown


@pytest.mark.parametrize("wire", [b"", b"\r\n\r\n", HALF_HEAD, LOAD, ODD, LOAD + HALF_HEAD, ODD + HALF_HEAD])
def test_shutdown_of_an_idle_connection(wire: bytes) -> None:
    """It closes at once; half a head is no request."""

    async def story() -> None:
        async with opened() as door:
            client = await door.client()
            await client.send(wire)
            for _ in range(wire.count(b"\r\n\r\n") if wire.strip() else 0):
                await client.answer()
            await door.until(lambda: len(door.state.connections) == 1, "it is connected")
            await asyncio.sleep(0.02)
            for connection in list(door.state.connections):
                connection.shutdown()
            assert await client.rest() == b""

    run(story)


@pytest.mark.parametrize("wire", [LOAD, STORE, HALF_BODY, request("GET", "/hold"), LOAD + LOAD])
def test_shutdown_lets_a_request_end(wire: bytes) -> None:
    """The request under way is answered, with `Connection: close`, and the connection ends."""

    async def story() -> None:
        async with opened() as door:
            door.pool.pages[1, 1] = PAGE
            door.pool.is_held = True
            client = await door.client()
            await client.send(wire)
            await door.until(lambda: bool(door.pool.waiting or door.behind.under_way or wire is HALF_BODY), "it runs")
            await asyncio.sleep(0.02)
            for connection in list(door.state.connections):
                connection.shutdown()
            if wire is HALF_BODY:
                await client.send(STORE[-1000:])
            assert await client.is_quiet()
            door.pool.let_go()
            door.behind.go_on.set()
            status, headers, _ = await client.answer()
            assert status in {200, 204}
            assert headers["connection"] == "close"
            assert await client.rest() == b""

    run(story)


# Refusals and defects


def test_a_connection_too_many() -> None:
    """Is told so and closed; the others are served."""

    async def story() -> None:
        async with opened(max_connections=2) as door:
            first, second = await door.client(), await door.client()
            await first.ask("GET", "/odd")
            await second.ask("GET", "/v1/pages/1/1")
            third = await door.client()
            status, headers, body = await third.answer()
            assert (status, code(body), headers["retry-after"]) == (503, "overloaded", "1")
            assert await third.rest() == b""
            assert (await first.ask("GET", "/v1/pages/1/1"))[0] == 404

    run(story)


def test_requests_too_many() -> None:
    """A load over the bound is refused by the door; a store is left to uvicorn, which takes its body off the wire."""

    async def story() -> None:
        async with opened(max_requests_in_flight=1) as door:
            door.pool.is_held = True
            busy, other = await door.client(), await door.client()
            await busy.send(LOAD)
            await door.until(lambda: bool(door.pool.waiting), "a request is under way")
            status, _, body = await other.ask("GET", "/v1/pages/1/1")
            assert (status, code(body)) == (503, "overloaded")
            await other.send(STORE)
            await door.until(lambda: door.behind.seen == ["/v1/pages/1/1"], "the store was passed on")
            door.pool.let_go()
            assert (await busy.answer())[0] == 404
            assert (await other.answer())[0] == 204
            assert (await other.ask("GET", "/v1/pages/1/1"))[2] == PAGE

    run(story)


@pytest.mark.parametrize("defect", [RuntimeError("boom"), asyncio.CancelledError()])
def test_a_defect_of_the_core(defect: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Is a 500 whose id stands in the log; the connection goes on."""

    async def story() -> None:
        async with opened() as door:
            door.pool.defect = defect
            client: Client = await door.client()
            status, headers, body = await client.ask("GET", "/v1/pages/1/1")
            assert (status, code(body)) == (500, "internal_error")
            assert b"boom" not in body
            (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
            assert record.request_id == headers["x-request-id"]
            door.pool.defect = None
            assert (await client.ask("GET", "/v1/pages/1/1"))[0] == 404

    run(story)


def test_a_call_that_is_cancelled() -> None:
    """A future of the core that is cancelled ends its request, not its connection."""

    async def story() -> None:
        async with opened() as door:
            door.pool.is_held = True
            client = await door.client()
            await client.send(LOAD)
            await door.until(lambda: bool(door.pool.waiting), "it runs")
            door.pool.waiting.pop().cancel()
            assert (await client.answer())[0] == 500
            door.pool.let_go()
            assert (await client.ask("GET", "/v1/pages/1/1"))[0] == 404

    run(story)


def test_every_answer_has_an_id() -> None:
    """The client's own if it is sane, whoever answers."""

    async def story() -> None:
        async with opened() as door:
            door.pool.pages[1, 1] = PAGE
            client = await door.client()
            _, headers, _ = await client.ask("GET", "/v1/pages/1/1", None, "X-Request-ID: mine-1")
            assert headers["x-request-id"] == "mine-1"
            _, headers, _ = await client.ask("GET", "/v1/pages/1/1", None, "X-Request-ID: not sane")
            assert headers["x-request-id"] not in {"", "not sane"}

    run(story)


def test_many_connections_at_once() -> None:
    """Each has its own state: none waits for another."""

    async def story() -> None:
        async with opened() as door:
            door.pool.is_held = True
            clients = [await door.client() for _ in range(100)]
            for client in clients[:50]:
                await client.send(LOAD)
            for client in clients[50:]:
                assert (await client.ask("GET", "/odd"))[0] == 200
            door.pool.let_go()
            for client in clients[:50]:
                assert (await client.answer())[0] == 404

    run(story)
