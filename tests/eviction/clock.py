"""Time under control: what Redis keeps of times is set back, so that a page is as old as a test wants, at once."""

from __future__ import annotations

import re
import time
from struct import pack, unpack

import redis

from tests.harness.area import Area

LONG_AGO = 10_000_000
_CHUNK = rb":p:\{\w+\}:%d:\d+"


def configure(area: Area, client: redis.Redis | redis.RedisCluster, **configuration: object) -> None:
    """Configure a type, so that it has had its policy for long, and was swept just now: the next sweep is far off."""
    assert area.configure(**configuration).status_code == 200
    key = next(client.scan_iter(match="*:config"))
    field = b"g%d" % area.type
    version, since = client.hget(key, field).split()
    client.hset(key, field, b"%b %d" % (version, int(since) - LONG_AGO))
    client.hset(key.removesuffix(b"config") + b"hands", b"swept:%d" % area.type, int(time.time()))
    # The second order does not break the policy, and has every worker read when it began.
    assert area.configure(**configuration).status_code == 200


def pass_seconds(area: Area, client: redis.Redis | redis.RedisCluster, seconds: int) -> None:
    """Let so many seconds pass for all pages of a type."""
    for key in _chunks(area, client):
        times = client.hget(key, "g")
        if times is not None:
            stamps = unpack(f"<{len(times) // 4 - 2}I", times[8:])
            client.hset(key, "g", times[:8] + pack(f"<{len(stamps)}I", *(max(at - seconds, 0) for at in stamps)))


def forget_marks(area: Area, client: redis.Redis | redis.RedisCluster) -> None:
    """Take the second chance of every page, as if the hand had passed once."""
    for key in _chunks(area, client):
        times = client.hget(key, "g")
        client.hset(key, "g", bytes(8) + times[8:])


def _chunks(area: Area, client: redis.Redis | redis.RedisCluster) -> list[bytes]:
    name = re.compile(_CHUNK % area.type)
    return [key for key in client.scan_iter(count=1000) if name.search(key)]
