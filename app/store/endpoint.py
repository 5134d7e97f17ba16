"""Where a Redis server listens, and how to greet it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

DEFAULT_PORT = 6379


class Server(Protocol):
    """What a connection needs of the server that it is made to: one address, or whoever is the master now."""

    @property
    def must_be_master(self) -> bool:
        """Whether a server that turns out to be a replica is the wrong one."""

    async def connect(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol]) -> None:
        """Open a connection; OSError when it cannot be had."""

    def greeting(self) -> list[tuple[bytes | str | int, ...]]:
        """The commands that a new connection begins with."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: a Unix socket, or a host and port; the password stays out of `repr`."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    is_tls: bool = False
    ca_file: Path | None = None

    @classmethod
    def from_url(cls, url: str, ca_file: Path | None = None) -> Self:
        """The endpoint that a URL names: redis://, rediss:// or unix://.

        Raises:
            ValueError: the URL is not one of these.
        """
        parts = urlsplit(url)
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if parts.scheme == "unix":
            database = parse_qs(parts.query).get("db", ["0"])[0]
            return cls(path=unquote(parts.path), database=int(database), username=username, password=password)
        if parts.scheme not in {"redis", "rediss"}:
            raise ValueError(f"PAGEPOOL_REDIS_URL has an unknown scheme: {parts.scheme or 'none'}")
        database = parts.path.strip("/") or "0"
        if not database.isdigit():
            raise ValueError("PAGEPOOL_REDIS_URL names a database that is no number")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or DEFAULT_PORT,
            database=int(database),
            username=username,
            password=password,
            is_tls=parts.scheme.startswith("rediss"),
            ca_file=ca_file,
        )

    @classmethod
    def seeds(cls, parts: SplitResult, default_port: int, ca_file: Path | None = None) -> list[Self]:
        """The endpoints of a URL that names several, as [rediss+…]://user:password@host:port,host:port.

        Raises:
            ValueError: a port is no number, or there is no host.
        """
        credentials, _, addresses = parts.netloc.rpartition("@")
        username, _, password = credentials.partition(":")
        seeds = []
        for address in addresses.split(","):
            seed = urlsplit(f"//{address}")
            if not seed.hostname:
                raise ValueError("PAGEPOOL_REDIS_URL lacks a host")
            seeds.append(
                cls(
                    host=seed.hostname,
                    port=seed.port or default_port,
                    username=unquote(username) or None,
                    password=unquote(password) or None,
                    is_tls=parts.scheme.startswith("rediss"),
                    ca_file=ca_file,
                )
            )
        return seeds

    @property
    def must_be_master(self) -> bool:
        """A server named by its address is taken as it is."""
        return False

    def at(self, host: str, port: int) -> Endpoint:
        """The same credentials at another address of the same cluster."""
        return replace(self, host=host, port=port, path=None)

    async def connect(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol]) -> None:
        """Open a connection; OSError when it cannot be had."""
        if self.path is not None:
            await loop.create_unix_connection(factory, self.path)
            return
        context = None
        if self.is_tls:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        await loop.create_connection(factory, self.host, self.port, ssl=context)

    def greeting(self) -> list[tuple[bytes | str | int, ...]]:
        """The commands that a new connection begins with."""
        commands: list[tuple[bytes | str | int, ...]] = []
        if self.password is not None:
            credentials = (self.username, self.password) if self.username else (self.password,)
            commands.append(("AUTH", *credentials))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands
