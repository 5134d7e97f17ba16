"""The private redis-server for a run without set-up: found, configured, started, watched, and gone with the service.

Its processes and pipes are drawn in `watcher`. This package needs no more than the standard library, since the watcher
imports it.
"""

from app.embedded.data_directory import find_running_socket
from app.embedded.errors import EmbeddedRedisError
from app.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedRedis", "EmbeddedRedisError", "find_running_socket"]
