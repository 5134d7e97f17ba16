"""The operation of the pool as a whole: numbers, tunables, readiness."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from app.errors import PagepoolError
from app.pool.admission import Gate
from app.pool.base import PoolBase
from app.pool.numbers import PoolNumbers, Readiness
from app.pool.parameters import Parameters, ParametersPatch
from app.store.multiplexer import Multiplexer, pack_command
from app.store.replies import checked
from app.telemetry_cells import PARAMETERS_VERSION

_USED_MEMORY: Final = re.compile(rb"used_memory:(\d+)")


class Operations(PoolBase):
    """What an operator reads and changes."""

    async def numbers(self) -> PoolNumbers:
        """The pool's truth, from Redis: the same whichever worker answers.

        Raises:
            BackendUnavailable: Redis is out of reach.
        """
        nodes = self._store.nodes
        info = [connection.send(pack_command((b"INFO", b"memory"))) for connection in nodes.all_loads()]
        totals, _ = await asyncio.gather(self._store.read_totals(), self._state.look_at_record())
        reclaims, used = self._store.reclaims, 0
        for reply in info:
            if found := _USED_MEMORY.search(checked(await reply)):
                used += int(found[1])
        await self._state.set_gate(self._state.pool.gate_now())
        return PoolNumbers(
            pool_bytes=totals.bytes,
            stored_pages=totals.pages,
            zero_pages=totals.zero,
            same_filled_pages=totals.same,
            incompressible_pages=totals.raw,
            limit_bytes=self.parameters.max_pool_bytes,
            is_full=self._state.gate is Gate.CLOSED,
            redis_used_memory_bytes=used,
            evicted_pages=reclaims.evicted,
            expired_pages=reclaims.expired,
            reclaim_failures=reclaims.failures,
        )

    async def change_parameters(self, patch: ParametersPatch) -> Parameters:
        """Change tunables; returns once every worker of this service has them.

        Raises:
            BackendUnavailable: Redis is out of reach, or a worker did not follow in time.
        """
        values = patch.model_dump(mode="json", exclude_unset=True)
        if not values:
            return self.parameters
        # A pool that had fallen to the threshold is open: under the limit that was, not under the one that comes.
        await self._state.look()
        version = await self._record.write_parameters(values)
        await self._state.reload()
        # A limit that was lifted has opened the pool for good, also if the next change sets another.
        await self._state.look()
        await self._followed(PARAMETERS_VERSION, version)
        return self.parameters

    async def readiness(self) -> Readiness:
        """Whether Redis answers; on a cluster, any master."""
        nodes = self._store.nodes
        reason = nodes.last_error
        # All at once: one that hangs must not keep the others from saying that they are there.
        for answer in asyncio.as_completed([_ping(connection) for connection in nodes.all_loads()]):
            problem = await answer
            if problem is None:
                return Readiness(is_ready=True, lost_nodes=nodes.lost_nodes)
            reason = problem
        return Readiness(is_ready=False, reason=reason, lost_nodes=nodes.lost_nodes)


async def _ping(connection: Multiplexer) -> str | None:
    """Why a node cannot serve; None where it can."""
    try:
        checked(await connection.send(pack_command((b"PING",))))
    except PagepoolError as error:
        return error.detail
    return None
