"""What goes wrong, told to a person in a few lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from app.cli import EXIT_FAILED, EXIT_UNUSABLE

if TYPE_CHECKING:
    from pydantic import ValidationError


def explain(error: Exception) -> int | None:
    """Print an error that can be foreseen, and return the exit status for it; None: it is a defect."""
    modules = sys.modules  # an error's class can only have been raised if its module was imported
    if "pydantic" in modules:
        from pydantic import ValidationError  # noqa: PLC0415

        if isinstance(error, ValidationError):
            _say(*_settings_lines(error))
            return EXIT_UNUSABLE
    if "pagepool_client" in modules:
        from pagepool_client import NoAnswer, NotReachable, PagepoolError, Problem  # noqa: PLC0415

        if isinstance(error, NotReachable):
            _say(f"{error} Is it running? `pagepool serve` starts it; --url or PAGEPOOL_URL says where it is.")
            return EXIT_UNUSABLE
        if isinstance(error, Problem):
            _say(f"{error.title}: {error.detail} [{error.code or error.status}]", *_notes(error))
            return EXIT_FAILED
        if isinstance(error, PagepoolError):
            _say(str(error), *_notes(error))
            return EXIT_UNUSABLE if isinstance(error, NoAnswer) else EXIT_FAILED
    if "app.errors" in modules:
        from app.errors import PagepoolError as ServiceError  # noqa: PLC0415

        if isinstance(error, ServiceError):
            _say(f"{error.title}: {error.detail} [{error.code}]")
            return EXIT_FAILED
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}")
        return EXIT_FAILED
    return None


def _say(*lines: str) -> None:
    print("pagepool: " + "\n  ".join(lines), file=sys.stderr)


def _notes(error: Exception) -> list[str]:
    return list(getattr(error, "__notes__", []))


def _settings_lines(error: ValidationError) -> list[str]:
    """One line for each setting that is wrong, by the name that an operator gave it."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        message = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines.append(message)
            continue
        name = f"PAGEPOOL_{str(fault['loc'][0]).upper()}"
        given = "" if _is_secret(name) else f" (it is {str(fault['input'])!r})"
        lines.append(f"{name}: {message}{given}")
    return lines


def _is_secret(name: str) -> bool:
    """A Redis URL may bear a password."""
    return name == "PAGEPOOL_REDIS_URL"
