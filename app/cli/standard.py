"""Standard input and output, as a command uses them that moves bytes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import BinaryIO

import click


def standard_input() -> BinaryIO:
    """Where bytes come from."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed.")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Where bytes go."""
    if sys.stdout is None:
        raise click.UsageError("standard output is closed.")
    return sys.stdout.buffer


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that it clears up behind itself.

    One that is ignored, as nohup has it, stays so.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)  # the shell's status for it

    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
