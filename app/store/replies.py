"""What Redis's error replies mean; a test names them all."""

from __future__ import annotations

import logging
from typing import Any, Final

import hiredis

from app.errors import BackendUnavailable, PageCorrupt, PagepoolError
from app.store.base import StoreFull

logger = logging.getLogger("pagepool.store")

ReplyError = hiredis.ReplyError

TRANSIENT: Final = frozenset(
    {
        "LOADING",
        "READONLY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "MOVED",
        "ASK",
        "NOREPLICAS",
        "MISCONF",
        "BUSY",
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "UNKILLABLE",
        "EXECABORT",
        "ERR",
    }
)
"""The first words of replies that say that Redis cannot serve this now."""


def error_of(reply: ReplyError) -> PagepoolError | StoreFull:
    """The error that a reply stands for."""
    text = str(reply)
    code = text.partition(" ")[0]
    if code == "OOM" or "OOM command not allowed" in text:
        return StoreFull(text)
    if code in {"MOVED", "ASK"}:
        # On a cluster these are followed; so this pool is not set up as one.
        return BackendUnavailable("Redis is a node of a cluster: PAGEPOOL_REDIS_URL has to be redis+cluster://.")
    if code == "WRONGTYPE":
        return PageCorrupt("A key of the pool is of a foreign type.")
    if code == "ERR" or code not in TRANSIENT:
        # Says nothing of how Redis is, and may well be a mistake of ours.
        logger.error("Redis answered: %s", text)
    return BackendUnavailable(f"Redis answered {code if code in TRANSIENT else 'with an unknown error'}.")


def error_code(reply: Any) -> str:
    """The first word of an error reply; empty for any other."""
    return str(reply).partition(" ")[0] if isinstance(reply, ReplyError) else ""


def checked(reply: Any) -> Any:
    """The reply, unless it is an error.

    Raises:
        StoreFull: Redis lacks memory.
        PagepoolError: any other error.
    """
    if isinstance(reply, ReplyError):
        raise error_of(reply)
    return reply


def is_no_script(reply: Any) -> bool:
    """Whether Redis does not know the script: flushed, restarted, or a promoted replica."""
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
