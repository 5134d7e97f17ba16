"""The Lua scripts: their text, and the digest that Redis knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Protocol

from app.store.multiplexer import pack_command
from app.store.replies import checked, is_no_script


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and its SHA-1 in hexadecimal, as EVALSHA takes it."""

    text: bytes
    sha: bytes


def _read(*names: str) -> Script:
    text = b"".join(resources.files(__package__).joinpath(name).read_bytes() for name in names)
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())


CHANGE_CHUNK: Final = _read("bits.lua", "change_chunk.lua")
PUT_PAGES: Final = _read("put_pages.lua")
PUT_CHUNK: Final = _read("bits.lua", "put_chunk.lua")
READ_RUN: Final = _read("bits.lua", "read_run.lua")
OPEN_POOL: Final = _read("open_pool.lua")
MARK_STRIPE: Final = _read("mark_stripe.lua")
WRITE_RECORD: Final = _read("write_record.lua")
WRITE_CONFIGURATION: Final = _read("write_configuration.lua")
RAISE_VERSION: Final = _read("raise_version.lua")
SHRINK_RUN: Final = _read("bits.lua", "shrink_run.lua")
TOUCH_CHUNKS: Final = _read("touch_chunks.lua")
COUNT_IDLE: Final = _read("bits.lua", "count_idle.lua")
COUNT_FAILURE: Final = _read("bits.lua", "count_failure.lua")
TAKE_LEASE: Final = _read("take_lease.lua")
AUDIT_CHUNK: Final = _read("audit_chunk.lua")
AUDIT_STRIPE: Final = _read("bits.lua", "audit_stripe.lua")
ALL: Final = (CHANGE_CHUNK, PUT_PAGES, PUT_CHUNK, READ_RUN, OPEN_POOL, MARK_STRIPE)
"""Those that a new connection makes known at once; the others are sent when they are needed."""


def load_command(script: Script) -> bytes:
    """The command that makes a script known again: to a Redis that was told to forget all."""
    return pack_command((b"SCRIPT", b"LOAD", script.text))


class _Route(Protocol):
    """What takes a command to its key (app/store/nodes.py)."""

    def send(self, command: bytes, /) -> Awaitable[Any]: ...


async def call_script(route: _Route, script: Script, keys: Sequence[bytes], arguments: Sequence[Any]) -> Any:
    """Run a script and check its reply; its text follows where Redis does not know it."""
    tail = (len(keys), *keys, *arguments)
    reply = await route.send(pack_command((b"EVALSHA", script.sha, *tail)))
    if is_no_script(reply):
        reply = await route.send(pack_command((b"EVAL", script.text, *tail)))
    return checked(reply)
