"""What PAGEPOOL_REDIS_URL may say of a cluster and of sentinels, and what is refused at once."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from app.settings import Settings
from app.store.cluster import ClusterNodes
from app.store.deployment import nodes_of
from app.store.endpoint import Endpoint
from app.store.nodes import Nodes
from app.store.sentinel import SentinelNodes

SETTINGS = Settings(_env_file=None)


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
