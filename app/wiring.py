"""What a worker process holds: built in order, closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.api.limits import InFlight
from app.embedded import EmbeddedRedis, find_running_socket
from app.machine import memory_bytes
from app.pool.parameters import Parameters
from app.pool.pool import Pool
from app.pool.state import PoolState
from app.serve.startup_refused import RedisAway, StartupRefused
from app.serve.worker_context import WorkerContext
from app.settings import Settings
from app.store.deployment import nodes_of
from app.store.endpoint import Endpoint
from app.store.nodes import Nodes
from app.store.record import PoolMismatch, PoolRecord
from app.store.redis import RedisStore
from app.tasks import end
from app.telemetry import Telemetry
from app.telemetry_cells import REDIS_CONNECTIONS

DEFAULT_SHARE_OF_MEMORY = 0.2
"""The limit of a pool on an embedded Redis, as zswap's max_pool_percent has it, unless the settings say another."""

START_SECONDS = 3.0
"""How long Redis has to be reached at the start, at least: a machine that boots is busier than ever after."""

RESTART_SECONDS = 0.2
"""How long a worker that is started again waits for it, once it has tried: clients wait meanwhile."""

TUNABLES = tuple(Parameters.model_fields)


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """The singletons of one process."""

    settings: Settings
    telemetry: Telemetry
    pool: Pool
    in_flight: InFlight

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[ProcessContext]:
        """Build everything; under a foreign ASGI server the embedded Redis too.

        Raises:
            StartupRefused: these settings do not fit the pool in Redis, or Redis cannot be reached.
            EmbeddedRedisError: no redis-server, or its home is in use.
        """
        worker = WorkerContext.from_environment()
        async with AsyncExitStack() as stack:
            nodes = await _nodes(settings, worker, stack)
            telemetry = telemetry_of(worker)
            stack.callback(telemetry.close)
            stack.push_async_callback(nodes.close)
            _count_connections(nodes, telemetry)
            await nodes.start()
            is_restart = worker is not None and worker.is_restart
            patience = RESTART_SECONDS if is_restart else max(settings.redis_timeout, START_SECONDS)
            if not await nodes.wait_reachable(patience):
                refusal = RedisAway if is_restart else StartupRefused
                raise refusal(f"Redis cannot be reached: {nodes.last_error}")
            record = await _open_record(nodes, settings)
            store = RedisStore(nodes, record)
            if worker is None or worker.writes_tunables:
                await _write_tunables(record, settings)
            state = PoolState(record, store, settings.page_size, telemetry)
            await state.look_at_record()
            await state.look_at_policies()
            await state.look()
            watcher = asyncio.create_task(state.watch(), name="pool state")
            stack.push_async_callback(end, watcher)
            pool = Pool(settings, store, record, state, telemetry)
            stack.push_async_callback(end, asyncio.create_task(pool.work(), name="pool work"))
            in_flight = InFlight(settings, telemetry)
            yield cls(settings, telemetry, pool, in_flight)
            # A store whose client has gone is still on its way to Redis: let it end in order.
            await in_flight.drained(settings.shutdown_timeout)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[RedisStore]:
    """The store of a pool that exists, for a command beside the service: it makes no pool, and starts no Redis.

    Raises:
        StartupRefused: Redis or the pool is not there, or does not fit these settings.
    """
    if settings.redis_url is None:
        socket_path = find_running_socket(settings)
        if socket_path is None:
            raise StartupRefused(
                f"No service runs on {settings.home}; PAGEPOOL_DATA_DIR or PAGEPOOL_REDIS_URL says where."
            )
        nodes = Nodes(Endpoint(path=str(socket_path)), settings)
    else:
        nodes = _given_nodes(settings)
    try:
        await nodes.start()
        if not await nodes.wait_reachable(settings.redis_timeout):
            raise StartupRefused(f"Redis cannot be reached: {nodes.last_error}")
        record = await PoolRecord.find(nodes, settings.namespace)
        if record is None:
            raise StartupRefused(f"There is no pool in the namespace {settings.namespace}.")
        yield RedisStore(nodes, record)
    finally:
        await nodes.close()


def _given_nodes(settings: Settings) -> Nodes:
    assert settings.redis_url is not None  # noqa: S101  the callers look
    try:
        return nodes_of(settings.redis_url.get_secret_value(), settings)
    except ValueError as error:
        # What urllib says quotes the URL, where a password may stand: neither its words nor its traceback are shown.
        said = str(error)
        if not said.startswith("PAGEPOOL_"):
            said = "PAGEPOOL_REDIS_URL is malformed: in user and password, : / ? # @ must be percent-encoded"
        raise StartupRefused(said) from None


def nodes_of_worker(settings: Settings, worker: WorkerContext) -> Nodes:
    """The way of a worker of `pagepool serve` to Redis, not begun yet."""
    if worker.redis_socket is not None:
        return Nodes(Endpoint(path=str(worker.redis_socket)), settings)
    return _given_nodes(settings)


async def _nodes(settings: Settings, worker: WorkerContext | None, stack: AsyncExitStack) -> Nodes:
    if settings.redis_url is not None:
        return _given_nodes(settings)
    if worker is not None and worker.redis_socket is not None:
        return nodes_of_worker(settings, worker)
    embedded = EmbeddedRedis(settings)
    await asyncio.to_thread(embedded.start)
    stack.push_async_callback(asyncio.to_thread, embedded.stop)
    return Nodes(Endpoint(path=str(embedded.socket_path)), settings)


def telemetry_of(worker: WorkerContext | None) -> Telemetry:
    """Where a process counts: a worker, beside its fellows."""
    if worker is None:
        return Telemetry()
    return Telemetry(worker.telemetry_fd, worker.index, worker.workers)


def _count_connections(nodes: Nodes, telemetry: Telemetry) -> None:
    def count() -> None:
        telemetry.cells[REDIS_CONNECTIONS] += 1

    nodes.after_connecting.append(count)


async def _open_record(nodes: Nodes, settings: Settings) -> PoolRecord:
    parameters = Parameters.from_settings(settings).model_dump(mode="json")
    if settings.max_pool_bytes is None and settings.is_embedded:
        parameters["max_pool_bytes"] = int(memory_bytes() * DEFAULT_SHARE_OF_MEMORY)
    try:
        return await PoolRecord.open(
            nodes,
            settings.namespace,
            page_size=settings.page_size,
            stripes=settings.stripes,
            parameters=parameters,
        )
    except PoolMismatch as error:
        raise StartupRefused(str(error)) from error


async def _write_tunables(record: PoolRecord, settings: Settings) -> None:
    """A tunable that the environment gives explicitly is written once, when a service starts."""
    given: dict[str, Any] = settings.model_dump(mode="json", include=settings.model_fields_set & set(TUNABLES))
    if given:
        await record.write_parameters(given)
