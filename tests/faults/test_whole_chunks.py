"""Stores of whole chunks, which go to Redis in transactions, where Redis is not as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.faults.recount import recount
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

CHUNK = 64
KINDS = list(pages.of_each_kind().values())
VERSIONS = [[KINDS[(place + turn) % len(KINDS)] for place in range(CHUNK)] for turn in range(3)]

Starter = Callable[..., Service]
RedisStarter = Callable[..., RedisServer]


def transactions(client: redis.Redis) -> int:
    """How many have put a chunk."""
    return client.info("commandstats").get("cmdstat_rename", {"calls": 0})["calls"]


def asked(client: redis.Redis, command: str) -> int:
    """How often Redis was asked a command, refused or not."""
    statistics = client.info("commandstats").get(f"cmdstat_{command}", {})
    return statistics.get("calls", 0) + statistics.get("rejected_calls", 0)


def check(area: Area, client: redis.Redis, version: list[bytes]) -> None:
    """The chunk is what was stored last, all is counted, and nothing lies beside it."""
    assert area.load_pages(0, CHUNK) == version
    assert not recount(client).differences
    assert not list(client.scan_iter("*:new"))


def test_scripts_forgotten(start_service: Starter, start_redis: RedisStarter) -> None:
    """A transaction whose script Redis has forgotten leaves nothing behind, and the next one is carried out again."""
    backend = start_redis()
    area = Area(start_service(redis_url=backend.url), 1)
    with backend.client() as client:
        for turn, version in enumerate(VERSIONS):
            area.store(0, *version)
            check(area, client, version)
            assert transactions(client) == (1, 1, 2)[turn]
            if turn == 0:
                client.script_flush()


@pytest.mark.parametrize("command", ["multi", "exec"])
@pytest.mark.parametrize("how", ["not known", "not allowed", "no longer allowed"])
def test_no_transactions(start_service: Starter, start_redis: RedisStarter, command: str, how: str) -> None:
    """A Redis that has no transactions for its client is served without, and not asked for them each time."""
    backend = start_redis(**{"rename_command": f"{command} other-{command}"} if how == "not known" else {})
    with backend.client() as client:
        if how == "not allowed":
            client.execute_command("ACL", "SETUSER", "default", f"-{command}")
        area = Area(start_service(redis_url=backend.url), 1)
        if how == "no longer allowed":
            client.execute_command("ACL", "SETUSER", "default", f"-{command}")
            area.store(0, *VERSIONS[0])
            done = transactions(client)
        else:
            done = 0
        before = asked(client, "multi")
        for version in VERSIONS:
            area.store(0, *version)
            check(area, client, version)
        assert transactions(client) == done
        assert asked(client, "multi") == before


def test_no_renaming(start_service: Starter, start_redis: RedisStarter) -> None:
    """A client of Redis that may not rename keys stores whole chunks all the same, and finds that out once."""
    backend = start_redis()
    with backend.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-rename")
        area = Area(start_service(redis_url=backend.url), 1)
        before = asked(client, "multi")
        for version in VERSIONS:
            area.store(0, *version)
            check(area, client, version)
        assert asked(client, "multi") == before + 1


def test_no_memory(start_service: Starter, start_redis: RedisStarter) -> None:
    """Whole chunks without memory: what needs none goes in, and of the rest no older copy stays."""
    backend = start_redis()
    area = Area(start_service(redis_url=backend.url), 1)
    with backend.client() as client:
        area.store(0, *VERSIONS[0])
        client.config_set("maxmemory", 1)
        document = check_problem(area.put(0, *VERSIONS[1]), 507, "backend_full")
        zeros = [place for place, page in enumerate(VERSIONS[1]) if page == pages.zero()]
        assert document["stored"] == len(zeros)
        client.config_set("maxmemory", 0)
        assert [place for place in range(CHUNK) if not area.is_absent(place)] == zeros
        assert not recount(client).differences
        assert not list(client.scan_iter("*:new"))
        area.store(0, *VERSIONS[2])
        check(area, client, VERSIONS[2])
