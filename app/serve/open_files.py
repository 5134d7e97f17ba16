"""Room for client connections: the limit on open files (RLIMIT_NOFILE), which shells and init systems set low."""

from __future__ import annotations

import logging
import resource

from app.settings import Settings

RESERVED = 256
"""Files that a worker has open beside its clients': listeners, pipes, two connections to each node of Redis."""

_log = logging.getLogger("pagepool.serve")


def with_room_for_connections(settings: Settings) -> Settings:
    """Raise this process's soft limit to what the connections of a worker need; workers inherit it.

    The settings, with fewer `max_connections` where the hard limit does not suffice: a connection too many is then
    told `overloaded`, while one that finds no file descriptor would be told nothing. That is logged.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + RESERVED
    if _covers(soft, needed):
        return settings
    raised = _raise_soft(needed if _covers(hard, needed) else hard, soft, hard)
    if raised >= needed:
        return settings
    fewer = max(raised - RESERVED, raised // 2, 1)
    _log.warning(
        "PAGEPOOL_MAX_CONNECTIONS is %d, but only %d files may be open: it is %d now; raise the hard limit "
        "(ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker)",
        settings.max_connections,
        raised,
        fewer,
    )
    return settings.model_copy(update={"max_connections": fewer})


def _covers(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def _raise_soft(wanted: int, soft: int, hard: int) -> int:
    """The soft limit afterwards."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS has a bound of its own below a hard limit that is infinite
        return soft
    return wanted
