"""Why a service does not start, in words for the operator."""

from __future__ import annotations


class StartupRefused(Exception):
    """The service cannot work as it is set up; its text is one line for the operator, without a traceback."""


class RedisAway(StartupRefused):
    """Redis cannot be reached by a worker that is started again: a service that has worked before must not end."""
