"""The smallest ASGI application that shows what a worker was given; `application=` of `app.serve.supervisor.run`."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import time
from dataclasses import asdict
from typing import Any

from app.embedded import EmbeddedRedisError
from app.serve.startup_refused import StartupRefused
from app.serve.worker_context import TELEMETRY_STATE, WorkerContext
from app.settings import Settings
from app.telemetry import Telemetry


def create_app(settings: Settings) -> Any:
    context = WorkerContext.from_environment()
    assert context is not None

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"][TELEMETRY_STATE] = Telemetry(context.telemetry_fd, context.index, context.workers)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(float(scope["query_string"]))
        answer = {
            "pid": os.getpid(),
            "context": asdict(context),
            "namespace": settings.namespace,
            "given": sorted(settings.model_fields_set),
            "visits": _visits(context),
            "redis": await _ping(str(context.redis_socket)) if context.redis_socket else None,
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer, default=str).encode()})

    return application


def create_refusing_app(_settings: Settings) -> Any:
    return _failing_at_startup(StartupRefused("the pool has another page size"))


def create_once_refusing_app(settings: Settings) -> Any:
    """Worker 1 refuses once, after the file `go` has come into the service's home; then it works like the other."""
    context = WorkerContext.from_environment()
    assert context is not None
    go = settings.home / "go"
    if context.index == 0 or (settings.home / "refused").exists():
        return create_app(settings)
    while not go.exists():
        time.sleep(0.01)
    (settings.home / "refused").touch()
    return _failing_at_startup(StartupRefused("Redis cannot be reached"))


def create_late_first_app(settings: Settings) -> Any:
    """Worker 0 says that it waits, and works once the file `go` has come into the service's home."""
    context = WorkerContext.from_environment()
    assert context is not None
    if context.index == 0:
        (settings.home / "waits").touch()
        while not (settings.home / "go").exists():
            time.sleep(0.01)
    return create_app(settings)


def create_broken_app(_settings: Settings) -> Any:
    return _failing_at_startup(RuntimeError("a defect"))


def create_unloadable_app(_settings: Settings) -> Any:
    raise EmbeddedRedisError("no such thing")


def _failing_at_startup(error: Exception) -> Any:
    async def application(_scope: Any, receive: Any, send: Any) -> None:
        # As Starlette does it: tell the server, then raise.
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback (most recent call last): …"})
        raise error

    return application


def _visits(context: WorkerContext) -> int:
    """Count in the shared memory, to show that it outlives the worker and is shared."""
    assert context.telemetry_fd is not None
    with mmap.mmap(context.telemetry_fd, 0) as shared:
        shared[0] = (shared[0] + 1) % 256
        return shared[0]


async def _ping(path: str) -> str:
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
    except OSError as error:
        return str(error)
    return answer.decode().strip()
