"""From PAGEPOOL_REDIS_URL to the nodes that it names.

    redis://  rediss://  unix://                                          one server
    redis+cluster://user:password@host:port,host:port                     a Redis Cluster, by some of its nodes
    redis+sentinel://user:password@host:port,host:port/MASTER?db=0        the master that these sentinels name

`rediss+cluster://` and `rediss+sentinel://` speak TLS, to the sentinels as well. User and password are those of the
servers; sentinels that ask for their own get them by `?sentinel_username=…&sentinel_password=…`.
PAGEPOOL_REDIS_PASSWORD_FILE holds the servers' password where the URL shall not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from app.settings import Settings
from app.store.endpoint import DEFAULT_PORT, Endpoint
from app.store.nodes import Nodes


def nodes_of(url: str, settings: Settings) -> Nodes:
    """The nodes that a URL names, not connected yet.

    Raises:
        ValueError: the URL is none of those above, or its password cannot be read.
    """
    if settings.redis_password_file is not None:
        url = url_with_password(url, settings.redis_password_file)
    parts = urlsplit(url)
    # redis-py is a tenth of a second of start-up, and one server needs none of it.
    if parts.scheme in {"redis+cluster", "rediss+cluster"}:
        from app.store.cluster import ClusterNodes  # noqa: PLC0415

        if parts.path.strip("/") not in {"", "0"}:
            raise ValueError("PAGEPOOL_REDIS_URL names a database, and a Redis Cluster has but one")
        return ClusterNodes(Endpoint.seeds(parts, DEFAULT_PORT, settings.redis_ca_file), settings)
    if parts.scheme in {"redis+sentinel", "rediss+sentinel"}:
        return _sentinel_nodes(parts, settings)
    return Nodes(Endpoint.from_url(url, settings.redis_ca_file), settings)


def url_with_password(url: str, file: Path) -> str:
    """The URL with the file's line as the password of its servers, percent-encoded.

    Raises:
        ValueError: the URL has a password of its own, or the file cannot be read or is empty.
    """
    parts = urlsplit(url)
    user, _, addresses = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("PAGEPOOL_REDIS_URL has a password, and PAGEPOOL_REDIS_PASSWORD_FILE names another")
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ValueError("PAGEPOOL_REDIS_PASSWORD_FILE cannot be read") from None
    if not password:
        raise ValueError("PAGEPOOL_REDIS_PASSWORD_FILE is empty")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{addresses}").geturl()


def _sentinel_nodes(parts: SplitResult, settings: Settings) -> Nodes:
    from app.store.sentinel import SENTINEL_PORT, MasterServer, SentinelNodes  # noqa: PLC0415

    master_name = unquote(parts.path.strip("/"))
    if not master_name or "/" in master_name:
        raise ValueError("PAGEPOOL_REDIS_URL must end with the master's name: redis+sentinel://host:port/NAME")
    query = parse_qs(parts.query)
    database = query.get("db", ["0"])[0]
    if not database.isdigit():
        raise ValueError("PAGEPOOL_REDIS_URL names a database that is no number")
    seeds = Endpoint.seeds(parts, SENTINEL_PORT, settings.redis_ca_file)
    username = query.get("sentinel_username", [None])[0]
    password = query.get("sentinel_password", [None])[0]
    sentinels = [replace(seed, username=username, password=password) for seed in seeds]
    credentials = replace(seeds[0], database=int(database))
    return SentinelNodes(MasterServer(sentinels, master_name, credentials, settings.redis_timeout), settings)
