"""What PAGEPOOL_REDIS_URL may say of a cluster and of sentinels, and what is refused at once."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.settings import Settings
from app.store.cluster import ClusterNodes
from app.store.deployment import nodes_of, url_with_password
from app.store.endpoint import Endpoint
from app.store.nodes import Nodes
from app.store.sentinel import SentinelNodes
from tests.harness import pages
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

SETTINGS = Settings(_env_file=None)
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:7000/3", Nodes),
        ("unix:///tmp/redis.sock", Nodes),
        ("redis+cluster://a:7000,b:7001,[::1]:7002", ClusterNodes),
        ("rediss+cluster://user:p%40ss@a,b", ClusterNodes),
        ("redis+sentinel://a,b:26380/pages?db=2", SentinelNodes),
        ("rediss+sentinel://:secret@a/pages?sentinel_password=other", SentinelNodes),
    ],
)
def test_schemes(url: str, kind: type[Nodes]) -> None:
    """Each scheme is a way to be connected."""
    assert type(nodes_of(url, SETTINGS)) is kind


def test_seeds() -> None:
    """All hosts share the credentials, are percent-decoded, and have the default port unless they name one."""
    seeds = Endpoint.seeds(urlsplit("rediss+cluster://me:p%40s%2Fs@a:7000,b,[::1]:7002"), 6379)
    assert [(seed.host, seed.port) for seed in seeds] == [("a", 7000), ("b", 6379), ("::1", 7002)]
    assert {(seed.username, seed.password, seed.is_tls) for seed in seeds} == {("me", "p@s/s", True)}
    assert "p@s/s" not in repr(seeds)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+cluster://a:7000/1", "but one"),
        ("redis+cluster://a:7000,", "lacks a host"),
        ("redis+cluster://a:port", "Port"),
        ("redis+sentinel://a:26379", "master's name"),
        ("redis+sentinel://a:26379/one/two", "master's name"),
        ("redis+sentinel://a:26379/pages?db=x", "no number"),
        ("http://a", "unknown scheme"),
    ],
)
def test_refused(url: str, reason: str) -> None:
    """A URL that cannot be meant so is refused before anything is connected, and the reason is said."""
    with pytest.raises(ValueError, match=reason):
        nodes_of(url, SETTINGS)


@pytest.mark.parametrize(
    ("url", "username"),
    [
        ("redis://a:7000/3", ""),
        ("redis://me@a:7000/3", "me"),
        ("unix:///tmp/redis.sock?db=3", ""),
        ("redis+cluster://a,b:7001", ""),
        ("redis+sentinel://me@a,b/pages?db=2", "me"),
    ],
)
def test_password_file(tmp_path: Path, url: str, username: str) -> None:
    """The file's line is the password at every scheme, whatever letters it is made of; the rest is as it was."""
    file = tmp_path / "password"
    file.write_text("p@s/s:w%41rd#?\n", encoding="utf-8")
    parts, bare = urlsplit(url_with_password(url, file)), urlsplit(url)
    credentials, _, addresses = parts.netloc.rpartition("@")
    assert credentials == f"{username}:p%40s%2Fs%3Aw%2541rd%23%3F"
    assert addresses == bare.netloc.rpartition("@")[2]
    assert parts._replace(netloc="") == bare._replace(netloc="")


@pytest.mark.parametrize(
    ("url", "content", "reason"),
    [
        ("redis://:one@a", "two", "names another"),
        ("redis://a", None, "cannot be read"),
        ("redis://a", "\n", "is empty"),
    ],
)
def test_password_file_refused(tmp_path: Path, url: str, content: str | None, reason: str) -> None:
    """Two passwords, or a file without one, are refused before anything is connected."""
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        nodes_of(url, Settings(_env_file=None, redis_password_file=file))


def test_a_redis_that_asks_for_the_files_password(tmp_path: Path) -> None:
    """The service is let in by the password in the file, and stores and loads."""
    file = tmp_path / "password"
    file.write_text("p@ss:w/rd\n", encoding="utf-8")
    page = pages.compressible(1)
    with (
        RedisServer(requirepass="p@ss:w/rd") as redis,
        Service(redis_url=redis.tcp_url, redis_password_file=str(file)) as service,
    ):
        assert service.client.put("/v1/pages/1/0", content=page, headers=OCTETS).status_code == 204
        assert service.client.get("/v1/pages/1/0").content == page
