"""An image's bytes on their way to a client, in bounded memory and at the client's pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, cast

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app.errors import PagepoolError
from app.pool.images import PIECE_BYTES, READ_AHEAD
from app.tasks import end

HELD_BYTES: Final = (READ_AHEAD + 2) * PIECE_BYTES
"""What one stream holds at most: the pieces asked for, the one that is given out, and one that the server sends."""

_log = logging.getLogger("pagepool.api")


class ImageStream(Response):
    """An answer of many pieces; `begin` fetches the first, so that what fails at once is still answered as an error.

    What fails later cuts the connection: the answer stays short of its Content-Length, and is never padded.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        status: int,
        headers: Sequence[tuple[bytes, bytes]],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(status_code=status)
        self.raw_headers = list(headers)
        self._pieces = cast("AsyncGenerator[bytes]", pieces)
        self._on_end = on_end
        self._first = b""

    async def begin(self) -> None:
        """Fetch the first piece.

        Raises:
            PagepoolError: there is none; the stream has ended.
        """
        try:
            self._first = await anext(self._pieces, b"")
        except BaseException:
            await self._end()
            raise

    async def _end(self) -> None:
        self._on_end()
        await self._pieces.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  Starlette's
        """Send the answer."""
        gone = asyncio.create_task(_disconnected(receive), name="image client")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            self._first = b""
            # An empty piece goes through once the server has sent on nearly all of the last one: nothing is fetched
            # for a client that does not read.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            async for piece in self._pieces:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except PagepoolError as error:
            # To return now makes the server cut the connection.
            _log.warning("Image cut short: %s", error.code)
        finally:
            await end(gone)
            await self._end()


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
