"""What `app.serve` takes of uvicorn beyond its documentation. A new version that breaks any of it fails here first."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

PINNED = "0.54."
REQUEST = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written = b""
        self.is_reading_now = True
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def pause_reading(self) -> None:
        self.is_reading_now = False

    def resume_reading(self) -> None:
        self.is_reading_now = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def application(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def made(loop: asyncio.AbstractEventLoop, protocol: type[HttpToolsProtocol] = HttpToolsProtocol) -> Any:
    config = uvicorn.Config(application, log_config=None, access_log=False, ws="none")
    config.load()
    return protocol(config, ServerState(), {}, loop)


def test_the_version_is_the_pinned_one() -> None:
    """`pyproject.toml` pins a minor version; the rest of this file is what to look at before it is raised."""
    assert uvicorn.__version__.startswith(PINNED)


def test_how_a_protocol_is_made() -> None:
    """By position, as the door makes its inner protocol and uvicorn makes the door."""
    names = list(inspect.signature(HttpToolsProtocol).parameters)
    assert names == ["config", "server_state", "app_state", "_loop"]
    source = inspect.getsource(Server)
    assert "server_state=self.server_state" in source
    assert "app_state=self.lifespan.state" in source


def test_a_connection_is_kept_in_the_server_state() -> None:
    """Where the door takes its inner protocol's place; shutdown() is called on each of them."""

    async def story() -> None:
        protocol = made(asyncio.get_running_loop())
        protocol.connection_made(Wire())
        assert protocol.server_state.connections == {protocol}
        protocol.connection_lost(None)
        assert not protocol.server_state.connections

    asyncio.run(story())
    assert "connection.shutdown()" in inspect.getsource(Server.shutdown)


def test_what_is_read_of_a_cycle() -> None:
    """`cycle` is the latest request; `pipeline` those that wait, the latest first; flow control is `flow`."""

    async def story() -> None:
        protocol = made(asyncio.get_running_loop())
        wire = Wire()
        protocol.connection_made(wire)
        assert protocol.cycle is None
        assert protocol.pipeline == deque()
        protocol.data_received(REQUEST[:-1])
        first = protocol.cycle
        assert isinstance(first, RequestResponseCycle)
        assert (first.more_body, first.response_started, first.response_complete) == (True, False, False)
        protocol.data_received(REQUEST[-1:] + REQUEST + REQUEST)
        assert not first.more_body
        assert protocol.cycle is not first
        assert [cycle is protocol.cycle for cycle, _ in protocol.pipeline] == [True, False]
        assert isinstance(protocol.flow, FlowControl)
        assert protocol.flow.read_paused
        assert not wire.is_reading_now
        while not protocol.cycle.response_complete:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0)
        assert not protocol.pipeline
        assert wire.is_reading_now
        assert wire.written.count(b"HTTP/1.1 200 OK") == 3
        protocol.connection_lost(None)

    asyncio.run(story())


def test_the_callbacks_that_are_overridden() -> None:
    """They come in this order; each answer is one `on_response_complete`."""
    seen: list[str] = []

    class Overridden(HttpToolsProtocol):
        pass

    for name in ("on_message_begin", "on_headers_complete", "on_message_complete", "on_response_complete"):

        def called(self: Any, name: str = name) -> None:
            seen.append(name)
            getattr(HttpToolsProtocol, name)(self)

        setattr(Overridden, name, called)

    async def story() -> None:
        protocol = made(asyncio.get_running_loop(), Overridden)
        protocol.connection_made(Wire())
        protocol.data_received(REQUEST[:1])
        assert seen == ["on_message_begin"]
        protocol.data_received(REQUEST[1:])
        while not protocol.cycle.response_complete:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0)
        protocol.connection_lost(None)

    asyncio.run(story())
    assert seen == ["on_message_begin", "on_headers_complete", "on_message_complete", "on_response_complete"]


def test_an_upgrade_says_where_it_begins() -> None:
    """The error's argument is the offset behind the request, which has ended; the parser goes on from there."""
    ended: list[bytes] = []

    class Callbacks:
        def on_message_complete(self) -> None:
            ended.append(parser.get_method())

    parser = httptools.HttpRequestParser(Callbacks())
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        parser.feed_data(head + REQUEST)
    assert raised.value.args[0] == len(head)
    assert ended == [b"GET"]
    parser.feed_data(REQUEST)
    assert ended == [b"GET", b"PUT"]


def test_an_error_in_a_callback_is_the_parsers() -> None:
    """So that a head that is too long ends the parsing."""

    class Callbacks:
        def on_headers_complete(self) -> None:
            raise ValueError

    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(Callbacks()).feed_data(REQUEST)
