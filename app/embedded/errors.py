"""Why the embedded Redis could not be started.

EmbeddedRedisError
├── RedisServerMissing      no redis-server on this machine that is new enough
├── DataDirectoryInUse      another service, or its Redis, holds the lock
├── DataDirectoryUnusable   not writable, or it holds pages that this mode would leave to rot
├── RedisDidNotStart        redis-server ended, or did not answer in time; with the tail of its log
└── StartCancelled          the service was told to end while Redis was still loading

Each text is meant for the operator, as it stands.
"""

from __future__ import annotations


class EmbeddedRedisError(Exception):
    """The root; the service cannot start."""


class RedisServerMissing(EmbeddedRedisError):
    """Neither PATH nor the wheel has a redis-server that runs and is new enough."""


class DataDirectoryInUse(EmbeddedRedisError):
    """The lock on the data directory is held."""


class DataDirectoryUnusable(EmbeddedRedisError):
    """The data directory cannot be made, written, or used in this persistence mode."""


class RedisDidNotStart(EmbeddedRedisError):
    """redis-server ended or stayed silent."""


class StartCancelled(EmbeddedRedisError):
    """A signal came before Redis was ready."""
