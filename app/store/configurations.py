"""Types' configurations in Redis, and the policies that follow from them (NS:config)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from app.errors import BackendFull
from app.store.base import StoreFull
from app.store.multiplexer import pack_command
from app.store.nodes import Nodes
from app.store.record import PoolRecord
from app.store.replies import checked
from app.store.scripts import RAISE_VERSION, WRITE_CONFIGURATION, call_script


class Configurations:
    """The configurations of one pool's types: JSON, which is for the pool to understand."""

    def __init__(self, nodes: Nodes, record: PoolRecord) -> None:
        self._nodes = nodes
        self._record = record
        self._key = record.keys.config

    async def read_all(self) -> dict[int, str]:
        """The configuration of every type that has one."""
        return _texts(await self._fields())

    async def read(self, type_: int) -> str | None:
        """The configuration of a type, None where it has none."""
        text = checked(await self._ask(b"HGET", self._key, type_))
        return None if text is None else text.decode()

    async def read_for_image(self, type_: int) -> tuple[str | None, bool]:
        """As `read`, and whether configurations were lost and nobody has accepted that."""
        command = pack_command((b"HMGET", self._key, type_, b"id"))
        text, identifier = checked(await self._nodes.of_key(self._key, is_load=True).send(command))
        return None if text is None else text.decode(), identifier != self._record.pool_id

    async def version(self) -> int:
        """The version of the newest policy; 0 where no type ever had one."""
        # As the record's state is asked for: what follows the pool all the time is one kind of command.
        [version] = checked(await self._ask(b"HMGET", self._key, b"v"))
        return int(version or 0)

    async def read_governed(self) -> tuple[int, dict[int, tuple[int, int, str]]]:
        """`version`, and for each governed type: its policy's version, since which second it has one, and its text."""
        fields = await self._fields()
        governed = {}
        for type_, text in _texts(fields).items():
            version, since = map(int, fields.get(b"g%d" % type_, b"0 0").split())
            if since:
                governed[type_] = version, since, text
        return int(fields.get(b"v", 0)), governed

    async def write(self, type_: int, text: str, *, is_governed: bool) -> int:
        """Set a type's configuration, or forget it where the text is empty.

        Returns:
            The version that all workers must have before this is answered; 0 where nothing changes for them. The
            stripes know of it: none goes by an older policy of the type any more.
        """
        route, arguments = self._nodes.of_key(self._key), (type_, text, int(is_governed))
        try:
            version = int(await call_script(route, WRITE_CONFIGURATION, [self._key], arguments))
        except StoreFull as error:
            raise BackendFull("Redis lacks the memory for the configuration.") from error
        if version:
            field = b"v%d" % type_
            calls = [
                call_script(self._nodes.of_key(key), RAISE_VERSION, [key], [field, version])
                for key in self._record.keys.stripe_keys
            ]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        return version

    async def _fields(self) -> Mapping[bytes, bytes]:
        flat = checked(await self._ask(b"HGETALL", self._key))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _ask(self, *command: bytes | int | str) -> Awaitable[Any]:
        return self._nodes.of_key(self._key).send(pack_command(command))


def _texts(fields: Mapping[bytes, bytes]) -> dict[int, str]:
    return {int(name): text.decode() for name, text in fields.items() if name.isdigit()}
