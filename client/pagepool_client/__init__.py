"""A client for Pagepool: pages in and out of a pool, sync and async, with LZ4 on this side of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagepool_client.answers import Allocation, Cell, Layout, LoadedFrames, PageHead, Run, Stored, etag_of
from pagepool_client.client import Client
from pagepool_client.errors import (
    AnswerTimedOut,
    BackendFull,
    BackendUnavailable,
    BadAddress,
    BadFrame,
    BadPageLength,
    BadRequest,
    BrokenAnswer,
    ExtentTooLarge,
    Forbidden,
    MetadataFull,
    NoAnswer,
    NotReachable,
    NotReplicated,
    NotWholePages,
    Overloaded,
    PageCorrupt,
    PageMissing,
    PagepoolError,
    PagesLost,
    PoolFull,
    PreconditionFailed,
    Problem,
    Refused,
    StoresDisabled,
    TypeUnknown,
    Unauthorized,
)
from pagepool_client.exporting import ExportSummary
from pagepool_client.frames import Extent, Frame, FrameKind, PageCounts
from pagepool_client.importing import ImportSummary
from pagepool_client.retries import NO_RETRIES, Retries
from pagepool_client.version import __version__

if TYPE_CHECKING:
    from pagepool_client.async_client import AsyncClient

__all__ = [
    "NO_RETRIES",
    "Allocation",
    "AnswerTimedOut",
    "AsyncClient",
    "BackendFull",
    "BackendUnavailable",
    "BadAddress",
    "BadFrame",
    "BadPageLength",
    "BadRequest",
    "BrokenAnswer",
    "Cell",
    "Client",
    "ExportSummary",
    "Extent",
    "ExtentTooLarge",
    "Forbidden",
    "Frame",
    "FrameKind",
    "ImportSummary",
    "Layout",
    "LoadedFrames",
    "MetadataFull",
    "NoAnswer",
    "NotReachable",
    "NotReplicated",
    "NotWholePages",
    "Overloaded",
    "PageCorrupt",
    "PageCounts",
    "PageHead",
    "PageMissing",
    "PagepoolError",
    "PagesLost",
    "PoolFull",
    "PreconditionFailed",
    "Problem",
    "Refused",
    "Retries",
    "Run",
    "Stored",
    "StoresDisabled",
    "TypeUnknown",
    "Unauthorized",
    "__version__",
    "etag_of",
]


def __getattr__(name: str) -> Any:
    """Import the async client, and asyncio with it, for those that ask for it."""
    if name == "AsyncClient":
        from pagepool_client.async_client import AsyncClient  # noqa: PLC0415

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
