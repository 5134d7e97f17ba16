"""The command `pagepool`: serve, import, export, look, mend.

What a command needs is imported when it runs, so that `pagepool --help` and small commands start at once.
"""

from __future__ import annotations

import os
import sys

EXIT_FAILED = 1
EXIT_UNUSABLE = 2
"""Wrong usage, wrong settings, or no service to speak to."""
EXIT_INTERRUPTED = 130
"""Ctrl-C: the shell's status for it."""


def main() -> None:
    """Run the command line; every foreseeable failure is one message and an exit status, not a traceback."""
    if sys.stderr is None:  # closed: what is said there must not go into what is exported
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - until the end, and without pathlib
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # `pagepool … | head`
        _drop_output()
        sys.exit(EXIT_FAILED)
    except Exception as error:
        from app.cli.failures import explain  # noqa: PLC0415 - see the module's docstring

        status = explain(error)
        if status is None:
            raise
        sys.exit(status)


def _run() -> None:
    from app.cli.commands import app  # noqa: PLC0415 - see the module's docstring

    try:
        app(prog_name="pagepool")
    finally:
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:
                _drop_output()
                raise


def _drop_output() -> None:
    """Give what is still buffered to nobody: it has nowhere to go, and the interpreter would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
