"""The pool's record in Redis: its format and identity, its tunables, whether it is open or closed, what it lost."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.errors import BackendUnavailable
from app.store.keys import CHUNK_PAGES, RUN_CHUNKS, STRIPES_CLUSTER, STRIPES_SINGLE, KeySchema
from app.store.multiplexer import pack_command
from app.store.nodes import Nodes
from app.store.replies import checked
from app.store.scripts import MARK_STRIPE, OPEN_POOL, WRITE_RECORD, call_script

FORMAT: Final = 1
LAYOUT: Final = f"hash/{CHUNK_PAGES}/{RUN_CHUNKS}"

_STATE_FIELDS: Final = (b"id", b"version", b"lost", b"full")
_CONFIG_ID: Final = b"id"
"""The field of NS:config that bears the pool's UUID: without it, configurations were lost."""


class PoolMismatch(Exception):
    """The pool in Redis was made with another format, page size or layout."""


@dataclass(frozen=True, slots=True)
class RecordState:
    """What changes in a record while services run."""

    version: int
    """Grows with every change of a tunable."""
    is_full: bool
    is_lost: bool
    """The record itself was lost once, so that types' configurations may be gone."""
    full_types: frozenset[int] = frozenset()
    """Of the types asked for, those whose own limit has closed them."""


class PoolRecord:
    """One pool's record, as this process knows it."""

    def __init__(self, nodes: Nodes, namespace: str, fields: Mapping[bytes, bytes]) -> None:
        self._nodes = nodes
        self._fields = dict(fields)
        self.pool_id = fields[b"id"]
        self.keys = KeySchema(namespace, int(fields[b"stripes"]))

    @classmethod
    async def open(
        cls, nodes: Nodes, namespace: str, *, page_size: int, stripes: int, parameters: Mapping[str, Any]
    ) -> PoolRecord:
        """The record of the pool in this namespace; a new one is made where there is none.

        Args:
            nodes: connections.
            namespace: prefix of every key.
            page_size: bytes in a page.
            stripes: stripes of a new pool; 0 for the default.
            parameters: first values of a new pool's tunables.

        Raises:
            PoolMismatch: the pool there does not fit.
            BackendUnavailable: Redis is out of reach.
        """
        new = {
            "format": FORMAT,
            "layout": LAYOUT,
            "page_size": page_size,
            "stripes": stripes or (STRIPES_CLUSTER if nodes.is_cluster else STRIPES_SINGLE),
            "id": secrets.token_hex(16),
            "version": 1,
            **{f"parameter:{name}": json.dumps(value) for name, value in parameters.items()},
        }
        key = KeySchema(namespace, 1).pool
        arguments = [part for pair in new.items() for part in pair]
        _, flat = await call_script(nodes.of_key(key), OPEN_POOL, [key], arguments)
        record = cls(nodes, namespace, dict(zip(flat[::2], flat[1::2], strict=True)))
        record._check_fits(page_size)
        if b"ready" not in record._fields:
            # Made now, or by a service that was killed before it had marked every stripe.
            await record.mark_stripes(was_lost=False)
            checked(await record._of_config(b"HSET", record.keys.config, _CONFIG_ID, record.pool_id))
            checked(await nodes.of_key(key).send(pack_command((b"HSET", key, b"ready", 1))))
        return record

    @classmethod
    async def find(cls, nodes: Nodes, namespace: str) -> PoolRecord | None:
        """The record of the pool in this namespace, None where there is none."""
        key = KeySchema(namespace, 1).pool
        flat = checked(await nodes.of_key(key).send(pack_command((b"HGETALL", key))))
        return cls(nodes, namespace, dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    @property
    def page_size(self) -> int:
        """Bytes in a page of this pool."""
        return int(self._fields[b"page_size"])

    def _check_fits(self, page_size: int) -> None:
        for name, ours in (("format", FORMAT), ("layout", LAYOUT), ("page_size", page_size)):
            theirs = self._fields.get(name.encode(), b"").decode()
            if theirs != str(ours):
                raise PoolMismatch(f"The pool in Redis has {name} {theirs or 'unknown'}, this service has {ours}.")

    # Tunables and state

    async def read_parameters(self) -> tuple[int, dict[str, Any]]:
        """The record's version, and the tunables."""
        key = self.keys.pool
        flat = checked(await self._nodes.of_key(key).send(pack_command((b"HGETALL", key))))
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if fields.get(b"id") != self.pool_id:
            raise BackendUnavailable("The pool's record is gone.")
        prefix = b"parameter:"
        values = {
            name.removeprefix(prefix).decode(): json.loads(value)
            for name, value in fields.items()
            if name.startswith(prefix)
        }
        self._fields = fields
        return int(fields[b"version"]), values

    async def write_parameters(self, values: Mapping[str, Any]) -> int:
        """Set tunables; the version that bears them."""
        pairs = [part for name, value in values.items() for part in (f"parameter:{name}", json.dumps(value))]
        return await self._write(1, *pairs)

    async def read_state(self, limited_types: Sequence[int] = ()) -> RecordState:
        """What other workers may have changed; a record that is gone is written again, and called lost."""
        key = self.keys.pool
        fields = (*_STATE_FIELDS, *(b"full:%d" % type_ for type_ in limited_types))
        reply = checked(await self._nodes.of_key(key).send(pack_command((b"HMGET", key, *fields))))
        identifier, version, lost, full, *full_types = reply
        if identifier is None:
            await self._restore()
            return RecordState(int(self._fields[b"version"]), is_full=False, is_lost=True)
        if identifier != self.pool_id:
            await self._follow(identifier)
            lost = b"1"
        closed = frozenset(type_ for type_, is_full in zip(limited_types, full_types, strict=True) if is_full == b"1")
        return RecordState(int(version or 0), full == b"1", lost == b"1", closed)

    async def _restore(self) -> None:
        """Redis lost the record (flushed, or come back empty): write what this process knows, marked as lost."""
        fields = {**self._fields, b"ready": b"1", b"lost": b"1", b"full": b"0"}
        arguments = [part for pair in fields.items() for part in pair]
        connection, key = self._nodes.of_key(self.keys.pool), self.keys.pool
        _, flat = await call_script(connection, OPEN_POOL, [key], arguments)
        there = dict(zip(flat[::2], flat[1::2], strict=True))
        if b"id" not in there:
            # A change of a tunable came first, and made a record of nothing but that.
            await self._write(0, *arguments)
        elif there[b"id"] != self.pool_id:
            await self._follow(there[b"id"])
        await self.mark_stripes(was_lost=True)

    async def _follow(self, identifier: bytes) -> None:
        """Redis lost the pool, and another service made a new one before this one noticed: call that one lost.

        Its stripes are marked before they are known to be this pool's, so that no read takes their holes for zeros.
        """
        for key in self.keys.stripe_keys:
            checked(await self._nodes.of_key(key).send(pack_command((b"HSET", key, b"lost", 1))))
        checked(await self._nodes.of_key(self.keys.pool).send(pack_command((b"HSET", self.keys.pool, b"lost", 1))))
        self.pool_id = identifier

    async def accept_loss(self) -> int:
        """Take what was lost for gone (contract 2.4): holes read as zeros from now on, and images can be read again.

        The configuration of types may have gone with them: it has to be set again.

        Returns:
            How many stripes had lost their pages.

        Raises:
            BackendUnavailable: Redis is out of reach, or a stripe belongs to another pool.
        """
        lost = 0
        for stripe, key in enumerate(self.keys.stripe_keys):
            await self.mark_stripe(stripe, was_lost=True)
            lost += checked(await self._nodes.of_key(key).send(pack_command((b"HDEL", key, b"lost"))))
        checked(await self._of_config(b"HSET", self.keys.config, _CONFIG_ID, self.pool_id))
        checked(await self._nodes.of_key(self.keys.pool).send(pack_command((b"HDEL", self.keys.pool, b"lost"))))
        return lost

    async def write_full(self, *, is_full: bool, type_: int | None = None) -> None:
        """Say for all workers whether the pool, or a type, is closed."""
        await self._write(0, b"full" if type_ is None else b"full:%d" % type_, int(is_full))

    async def _write(self, version_step: int, *pairs: bytes | int | str) -> int:
        key = self.keys.pool
        return int(await call_script(self._nodes.of_key(key), WRITE_RECORD, [key], [version_step, *pairs]))

    async def mark_stripes(self, *, was_lost: bool) -> None:
        """As `mark_stripe`, for all, and all at once."""
        marking = [self.mark_stripe(stripe, was_lost=was_lost) for stripe in range(self.keys.stripes)]
        for outcome in await asyncio.gather(*marking, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def mark_lost_stripe(self, stripe: int) -> None:
        """Make a stripe usable again that was found without the pool's identity.

        The record comes first: were it gone as well, a service that starts would make another pool of the namespace,
        and find this stripe to be of the old one.
        """
        await self.read_state()
        await self.mark_stripe(stripe, was_lost=True)

    async def mark_stripe(self, stripe: int, *, was_lost: bool) -> None:
        """Put the pool's identity on a stripe that bears none; a stripe that bore it once lost its pages."""
        key = self.keys.stripe_keys[stripe]
        answer = await call_script(self._nodes.of_key(key), MARK_STRIPE, [key], [self.pool_id, int(was_lost)])
        if answer < 0:
            raise BackendUnavailable("A stripe belongs to another pool.")

    def _of_config(self, *command: bytes | int | str) -> Awaitable[Any]:
        return self._nodes.of_key(self.keys.config).send(pack_command(command))
