"""`python -m openapi.lint`: Redocly's strict rules over openapi.json (`make lint-openapi`)."""

from __future__ import annotations

import sys

from openapi import tools
from openapi.tools import DOCUMENT, HERE, NotHere


def lint() -> None:
    """Look for findings.

    Raises:
        NotHere: there is no Node.
        RuntimeError: there are some; the message lists them.
    """
    with tools.alone():
        redocly = tools.node_program("redocly")
    tools.run(
        *redocly,
        *("lint", "--config", HERE / "redocly.yaml", "--format", "stylish", DOCUMENT),
        REDOCLY_SUPPRESS_UPDATE_NOTICE="true",
        REDOCLY_TELEMETRY="off",
    )


def main() -> int:
    """Say what was found."""
    try:
        lint()
    except NotHere as reason:
        print(f"skipped: {reason}")  # noqa: T201 - a command's answer
    except RuntimeError as findings:
        print(findings)  # noqa: T201 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
