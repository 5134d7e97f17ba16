"""Marks of loads: which pages of governed types were loaded, gathered here and written in batches.

A load must not cost a write. What was loaded in the last second is lost if the worker is killed, which costs those
pages their second chance and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from app.errors import PagepoolError
from app.store.base import StoreFull
from app.store.reclaim import Reclaim

logger = logging.getLogger("pagepool.pool")

MARK_SECONDS: Final = 1.0
"""How long a mark waits at most."""

MOST_CHUNKS: Final = 8192
"""Chunks whose marks wait at most; those of further ones are let go."""


class Marks:
    """The marks of one worker."""

    def __init__(self, reclaim: Reclaim) -> None:
        self._reclaim = reclaim
        self._maps: dict[int, dict[int, int]] = {}
        self._chunks = 0

    def add(self, type_: int, chunk: int, mask: int) -> None:
        """Pages of a chunk, as a map, were loaded."""
        maps = self._maps.get(type_)
        if maps is None:
            maps = self._maps[type_] = {}
        if chunk in maps:
            maps[chunk] |= mask
        elif self._chunks < MOST_CHUNKS:
            maps[chunk] = mask
            self._chunks += 1

    async def write(self) -> None:
        """Write what has been gathered."""
        gathered, self._maps, self._chunks = self._maps, {}, 0
        for type_, maps in gathered.items():
            await self._reclaim.touch(type_, maps)

    async def keep_writing(self) -> None:
        """Write again and again, for as long as the worker lives."""
        while True:
            await asyncio.sleep(MARK_SECONDS)
            try:
                await self.write()
            except (PagepoolError, StoreFull) as error:
                logger.debug("marks are lost: %s", error)
            except Exception:
                logger.exception("Unforeseen failure")
