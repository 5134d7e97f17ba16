"""A body on its way into an image, in bounded memory: each piece is written while the next one comes."""

from __future__ import annotations

import asyncio
from typing import Final

from app.errors import RangeTooLarge
from app.pool.images import WRITE_BYTES
from app.pool.pool import Pool

HELD_BYTES: Final = 2 * WRITE_BYTES
"""What one writer holds at most: a piece that is being written, and one that is coming."""


class ImageWriter:
    """Takes the parts of a body as they come. Pieces end where pages end, so that only the body's own ends may not."""

    def __init__(self, pool: Pool, type_: int, start: int, limit: int) -> None:
        self._pool = pool
        self._type = type_
        self._start = start
        self._limit = limit
        self._coming = bytearray()
        self._writing: asyncio.Task[None] | None = None

    async def take(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            RangeTooLarge: it reaches past the limit; what lies before that was written.
            PagepoolError: as `Images.write_image`; of this part, or of one before.
        """
        room = self._limit - self._start - len(self._coming)
        self._coming += part if len(part) <= room else part[:room]
        while len(self._coming) >= (length := WRITE_BYTES - self._start % WRITE_BYTES):
            piece = bytes(self._coming[:length])
            del self._coming[:length]
            await self.settle()
            self._writing = asyncio.create_task(self._pool.write_image(self._type, self._start, piece))
            self._start += length
        if len(part) > room:
            await self.end()
            raise past_the_end(self._limit)

    async def end(self, *, fills_page: bool = False) -> int:
        """Write what is left, filled up with zeros to a whole page if asked for; the first byte behind the body.

        Raises:
            PagepoolError: as `take`.
        """
        await self.settle()
        behind = self._start + len(self._coming)
        if self._coming:
            filling = -len(self._coming) % self._pool.page_size if fills_page else 0
            await self._pool.write_image(self._type, self._start, bytes(self._coming) + bytes(filling))
        return behind

    async def settle(self) -> None:
        """Wait for the piece that is being written.

        Raises:
            PagepoolError: as `take`.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing


def past_the_end(limit: int) -> RangeTooLarge:
    """The error of a write past the end of an image."""
    return RangeTooLarge(f"The image ends at byte {limit}.")
