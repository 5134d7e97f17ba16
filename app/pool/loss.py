"""Accepting that the backend lost pages (contract 2.4): `pagepool repair --accept-loss`."""

from __future__ import annotations

from app.settings import Settings
from app.wiring import open_store


async def accept_loss(settings: Settings) -> int:
    """Let the images of a pool be read again after pages were lost; lost pages read as zeros from then on.

    The configuration of types may have gone with them: it has to be set again.

    Returns:
        How many stripes of the pool had lost their pages.

    Raises:
        StartupRefused: there is no such pool in reach.
        BackendUnavailable: Redis went away.
    """
    async with open_store(settings) as store:
        return await store.record.accept_loss()
