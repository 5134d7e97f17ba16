"""One worker of `pagepool serve`: `python -m app.serve.worker`, its context in the environment.

It runs stock uvicorn on the sockets that the supervisor bound, and ends with the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from pydantic import ValidationError
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from app.embedded import EmbeddedRedisError
from app.serve.accepting import Acceptor, Connections
from app.serve.certificate import server_context
from app.serve.passing_on import NO_KEEP_ALIVE_LIMIT_SECONDS
from app.serve.startup_refused import RedisAway, StartupRefused
from app.serve.tls_gate import TlsEntry
from app.serve.worker_context import (
    EXIT_REFUSED,
    READY_MARK,
    REFUSAL_BYTES,
    REFUSAL_MARK,
    TELEMETRY_STATE,
    WorkerContext,
)
from app.settings import Door, Settings
from app.telemetry_logging import configure_logging

DOOR = "app.serve.page_door:PageDoor"
"""Pagepool's HTTP protocol class; uvicorn imports it by this name."""

ORPHAN_SECONDS = 2.0
"""How long requests in flight get when the supervisor has been killed; embedded Redis ends at the same moment."""

GOODBYE_SECONDS = 1.0
"""How long a client has for its last word over TLS when the service ends."""

_REFUSALS = (StartupRefused, EmbeddedRedisError, ValidationError)


def main() -> int:
    """Serve until SIGTERM or the supervisor's end; the exit status."""
    context = WorkerContext.from_environment()
    if context is None:
        print("app.serve.worker is started by: pagepool serve", file=sys.stderr)  # noqa: T201 - for a person
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(
        target=_end_with_supervisor, args=(context.death_fd,), name="supervisor-watch", daemon=True
    ).start()
    try:
        settings = Settings(_env_file=None)
        configure_logging(settings.log_level, access_log_sample=settings.access_log_sample)
        if settings.log_level != "debug":
            logging.getLogger("uvicorn").setLevel(logging.WARNING)  # the supervisor says when the service is up
        return _serve(settings, context)
    except _REFUSALS as refusal:
        # The supervisor says it once, for all workers.
        os.write(context.ready_fd, REFUSAL_MARK + str(refusal).encode()[:REFUSAL_BYTES])
        return EXIT_REFUSED


def _serve(settings: Settings, context: WorkerContext) -> int:
    listeners = [socket.socket(fileno=fd) for fd in context.listen_fds]
    ending = _Ending()
    while not ending.is_told:
        application = _Application(_load(context.application)(settings))
        server = _WorkerServer(uvicorn_config(settings, application), ending, context)
        try:
            server.run(listeners)
        except SystemExit:
            # uvicorn's answer to a lifespan that failed; what the application raised says if trying again may help.
            if isinstance(application.refusal, RedisAway):
                _stand_in(settings, context, ending, [each.dup() for each in listeners])
                continue
            if application.refusal is not None:
                raise application.refusal from None
            return 1
        return 0
    return 0


def _stand_in(settings: Settings, context: WorkerContext, ending: _Ending, listeners: list[socket.socket]) -> None:
    """Say that Redis is away, until it is back or the worker is to end. The sockets are closed in the end."""
    # Not before it is needed: an application that has nothing to do with Redis can be served as well.
    from app.serve.stand_in import HANDOVER_SECONDS, ContextAway, Handover, serve_until_reachable  # noqa: PLC0415
    from app.wiring import nodes_of_worker, telemetry_of  # noqa: PLC0415

    nodes, telemetry = nodes_of_worker(settings, context), telemetry_of(context)
    try:
        handover = Handover(_load(context.application)(settings, context=ContextAway.of(settings, telemetry, nodes)))
        config = uvicorn_config(settings.model_copy(update={"door": Door.ASGI}), handover)
        config.timeout_graceful_shutdown = HANDOVER_SECONDS
        asyncio.run(serve_until_reachable(_Server(config, ending), listeners, nodes, handover))
    finally:
        telemetry.close()


def uvicorn_config(settings: Settings, application: ASGI3Application) -> uvicorn.Config:
    """How uvicorn serves Pagepool, here and wherever a test does the same."""
    http: Any = DOOR if settings.door is Door.PROTOCOL else "httptools"
    if settings.tls_certificate is not None and settings.tls_key is not None:
        context = server_context(settings.tls_certificate, settings.tls_key)
        http = TlsEntry(import_from_string(HTTP_PROTOCOLS.get(http, http)), context, settings)
    return uvicorn.Config(
        application,
        http=http,
        loop="uvloop",
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,  # configure_logging has done it
        access_log=False,  # Pagepool writes its own
        proxy_headers=False,  # nothing here depends on the client's address
        server_header=False,
        timeout_keep_alive=NO_KEEP_ALIVE_LIMIT_SECONDS
        if settings.door is Door.PROTOCOL
        else math.ceil(settings.keep_alive_timeout),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
    )


_GARBAGE_THRESHOLD: Final = 2000
"""Objects between two looks for garbage. Not more: what a failed request leaves behind may hold an extent."""


class _Ending:
    """Whether the worker was told to end: one answer to SIGTERM for all servers that it runs, and between them."""

    def __init__(self) -> None:
        self.is_told = False
        self._server: uvicorn.Server | None = None

    def ends(self, server: uvicorn.Server) -> None:
        """From now on SIGTERM ends this server; one that came before does so as well."""
        self._server = server
        signal.signal(signal.SIGTERM, self._handle)
        server.should_exit |= self.is_told

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.is_told = True
        if self._server is not None:
            self._server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves the process's exit status to `main`."""

    def __init__(self, config: uvicorn.Config, ending: _Ending) -> None:
        super().__init__(config)
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        entry: object = self.config.http_protocol_class
        beside = [asyncio.create_task(self._end_the_slow())]
        if isinstance(entry, TlsEntry):
            beside.append(asyncio.create_task(_end_goodbyes(entry)))
        await super().shutdown(sockets)
        for task in beside:
            task.cancel()

    async def _end_the_slow(self) -> None:
        """Close, in the end, on clients that still send or do not read: uvicorn would go on with them open."""
        await asyncio.sleep(self.config.timeout_graceful_shutdown or 0)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise SIGTERM again in the end, and a clean end would look like a kill.
        self._ending.ends(self)
        yield


class _WorkerServer(_Server):
    """Says when it is ready; takes its share of the connections where there are other workers."""

    def __init__(self, config: uvicorn.Config, ending: _Ending, context: WorkerContext) -> None:
        super().__init__(config, ending)
        self._ready_fd = context.ready_fd
        self._has_fellows = context.workers > 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._has_fellows:
            await super().startup([])
            self._accept_beside_others(sockets or [])
        else:
            await super().startup(sockets)
        # Extents make objects by the hundred, none of them garbage that reference counts do not find: at Python's own
        # threshold a twentieth of their time went into looking.
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
        with contextlib.suppress(OSError):  # the supervisor has gone; the death pipe says so, too
            os.write(self._ready_fd, READY_MARK)

    def _accept_beside_others(self, listeners: list[socket.socket]) -> None:
        connections = Connections(self.lifespan.state[TELEMETRY_STATE])
        self.server_state.connections = connections
        make_protocol = partial(
            cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        acceptors = [Acceptor(each, make_protocol, connections) for each in listeners]
        self.servers += cast("list[asyncio.Server]", acceptors)


async def _end_goodbyes(entry: TlsEntry) -> None:
    """A connection over TLS that is closed waits half a minute for its client's goodbye; a service that ends cannot."""
    while True:
        await asyncio.sleep(GOODBYE_SECONDS)
        entry.end_goodbyes()


class _Application:
    """The application, with an eye on its lifespan: a refusal to start is one line, not a traceback."""

    def __init__(self, application: ASGI3Application) -> None:
        self._application = application
        self.refusal: BaseException | None = None

    def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Any:
        # No coroutine of its own on the way of a request.
        if scope["type"] != "lifespan":
            return self._application(scope, receive, send)
        return self._lifespan(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        failures: list[ASGISendEvent] = []
        is_started = False

        async def hold_failure(event: ASGISendEvent) -> None:
            nonlocal is_started
            if event["type"] == "lifespan.startup.failed":
                failures.append(event)  # its message is a traceback; sent below, unless the refusal says it better
                return
            is_started |= event["type"] == "lifespan.startup.complete"
            await send(event)

        try:
            await self._application(scope, receive, hold_failure)
        except BaseException as error:
            if isinstance(error, _REFUSALS) and not is_started:
                self.refusal = error
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            for event in failures:
                await send(event)
            raise


def _load(name: str) -> Callable[..., ASGI3Application]:
    module, _, attribute = name.partition(":")
    return cast("Callable[..., ASGI3Application]", getattr(importlib.import_module(module), attribute))


def _end_with_supervisor(death_fd: int) -> None:
    """Thread: end this process when the supervisor has ended, with a little time for requests in flight."""
    os.read(death_fd, 1)
    logging.getLogger("pagepool.serve").warning("the supervisor has ended: ending")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
