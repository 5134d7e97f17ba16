"""Why a service does not start, in words for the operator."""

from __future__ import annotations


class StartupRefused(Exception):
    """The service cannot work as it is set up; its text is one line for the operator, without a traceback."""
