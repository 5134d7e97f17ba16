"""What goes wrong, told to a person in a few lines."""

from __future__ import annotations

import errno
import sys

from app.cli import EXIT_FAILED, EXIT_UNUSABLE

Told = tuple[int, list[str]]
"""An exit status, and the lines that say why."""

_OF_OPEN_FILES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EISDIR, errno.ENOENT}
"""What reading and writing an open file, or a working directory that is gone, can end with: it bears no name."""

_BEARS_CREDENTIALS = "PAGEPOOL_REDIS_URL"


def explain(error: Exception) -> int | None:
    """Print an error that can be foreseen, and return the exit status for it; None: it is a defect."""
    for tell in (_settings, _client, _service, _file):
        if (told := tell(error)) is not None:
            status, lines = told
            print("pagepool: " + "\n  ".join(lines), file=sys.stderr)
            return status
    return None


def _client(error: Exception) -> Told | None:
    """What a service answered, or did not."""
    if "pagepool_client" not in sys.modules:  # then none of its errors can have been raised
        return None
    from pagepool_client import NoAnswer, NotReachable, PagepoolError, Problem  # noqa: PLC0415

    if not isinstance(error, PagepoolError):
        return None
    notes = getattr(error, "__notes__", [])
    if isinstance(error, NotReachable):
        where = "Is it running? `pagepool serve` starts it; --url or PAGEPOOL_URL says where it is."
        return EXIT_UNUSABLE, [f"{error} {where}", *notes]
    if isinstance(error, Problem):
        return EXIT_FAILED, [f"{error.title}: {error.detail} [{error.code or error.status}]", *notes]
    return EXIT_UNUSABLE if isinstance(error, NoAnswer) else EXIT_FAILED, [str(error), *notes]


def _service(error: Exception) -> Told | None:
    """What a command that works on Redis itself ran into."""
    if "app.serve.startup_refused" in sys.modules:
        from app.serve.startup_refused import StartupRefused  # noqa: PLC0415

        if isinstance(error, StartupRefused):
            return EXIT_UNUSABLE, [str(error)]
    if "app.errors" in sys.modules:
        from app.errors import PagepoolError  # noqa: PLC0415

        if isinstance(error, PagepoolError):
            return EXIT_FAILED, [f"{error.title}: {error.detail} [{error.code}]"]
    return None


def _file(error: Exception) -> Told | None:
    if not isinstance(error, OSError):
        return None
    if error.filename is not None:
        return EXIT_FAILED, [f"{error.filename}: {error.strerror}"]
    return (EXIT_FAILED, [str(error.strerror)]) if error.errno in _OF_OPEN_FILES else None


def _settings(error: Exception) -> Told | None:
    """One line for each setting that is wrong, by the name that an operator gave it."""
    if "pydantic" not in sys.modules:
        return None
    from pydantic import ValidationError  # noqa: PLC0415

    if not isinstance(error, ValidationError):
        return None
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        message = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines.append(message)
            continue
        name = f"PAGEPOOL_{str(fault['loc'][0]).upper()}"
        given = "" if name == _BEARS_CREDENTIALS else f" (it is {str(fault['input'])!r})"
        lines.append(f"{name}: {message}{given}")
    return EXIT_UNUSABLE, lines
