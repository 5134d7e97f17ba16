"""The options that the embedded redis-server is started with; no configuration file is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the watcher imports this package and has no need of pydantic
    from app.settings import Persistence


def redis_options(persistence: Persistence, home: Path, socket_path: Path) -> list[str]:
    """The command line of redis-server, after its own name.

    Every option exists since Redis 6.2. What Redis does by default is not repeated: no TCP tuning (there is none), no
    transparent huge pages, DEBUG and MODULE closed (since 7.0), background freeing by jemalloc.
    """
    options = {
        # Private: only this user, only this machine.
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        # The watcher must be its parent, and its log goes to the watcher's file, start-up errors included.
        "daemonize": "no",
        "supervised": "no",
        "logfile": "",
        "loglevel": "notice",
        "always-show-logo": "no",
        # A crash report quotes the arguments of the command at hand, which are page bytes; the memory test that goes
        # with it would hold up the restart by seconds for each GiB.
        "crash-log-enabled": "no",
        "crash-memcheck-enabled": "no",
        # Persistence is the append-only file or nothing. Snapshots would fork a copy of the pool time and again.
        "dir": str(home),
        "save": "",
        "appendonly": "no" if persistence == "none" else "yes",
        "appendfsync": "everysec" if persistence == "none" else str(persistence),
        # Blobs are compressed already: LZF over them costs time in a rewrite of the file and gains nothing.
        "rdbcompression": "no",
        # The pool's own limit decides what goes in; Redis must never drop a page by itself, as counters would be wrong.
        "maxmemory-policy": "noeviction",
        "databases": "1",
        # Large deletions do not hold up the pages behind them.
        "lazyfree-lazy-server-del": "yes",
        "lazyfree-lazy-user-del": "yes",
        "lazyfree-lazy-user-flush": "yes",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]
