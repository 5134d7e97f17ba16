"""The file of tokens: who may come in, with what role, to which types.

    [[tokens]]
    name = "worker-7"                 # what logs call it
    sha256 = "…64 hex digits…"        # of the token's text; `pagepool token new` makes both
    role = "write"                    # read, write or admin: each includes those before it
    types = [1, 5, "10-19"]           # left out: all types

A file whose name ends in `.json` holds the same as `{"tokens": [{…}]}`. The file is read again when it has changed; a
new one that cannot be used is logged, and the tokens before it stay.

A presented token is hashed, and found by a keyed hash of that hash, so that the time of a look-up says nothing about
the tokens that there are; headers that were found good are remembered until the next change of the file.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
import re
import time
import tomllib
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.page.address import MAX_TYPE
from app.serve.startup_refused import StartupRefused

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at."""

_SETTLED_SECONDS: Final = 2.0
"""A file that is younger may change again without a change of its times: it is read at the next look, too."""
_MAX_FILE_BYTES: Final = 16 << 20
_MAX_REMEMBERED: Final = 1024
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_RANGE: Final = re.compile(r"(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})", re.ASCII)

_log = logging.getLogger("pagepool.tokens")


class Role(IntEnum):
    """What a token may do; each role includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As the file and the problem documents have it."""
        return self.name.lower()


class TypeRanges:
    """The types of a restricted token: ascending ranges, bounds included, that neither touch nor overlap."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(last, self._lasts[-1])
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, type_: int) -> bool:
        place = bisect_right(self._firsts, type_)
        return place > 0 and type_ <= self._lasts[place - 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __repr__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self)


class Use:
    """How many requests a token has under way in this worker; it outlasts a reload of the file."""

    __slots__ = ("requests",)

    def __init__(self) -> None:
        self.requests = 0


class Token:
    """One entry of the file."""

    __slots__ = ("digest", "name", "role", "types", "use")

    def __init__(self, name: str, digest: bytes, role: Role, types: TypeRanges | None) -> None:
        self.name = name
        self.digest = digest
        self.role = role
        self.types = types
        """None: all of them."""
        self.use = Use()

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.role.word}, types {self.types or 'all'})"

    def reaches(self, type_: int) -> bool:
        """Whether it is good for this type."""
        return self.types is None or type_ in self.types


class UnusableTokens(Exception):
    """The file cannot be read or understood; the text says where, and repeats nothing of what stands there."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")]
    role: Annotated[str, Field(pattern="^(read|write|admin)$")]
    types: list[int | str] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    tokens: Annotated[list[_Entry], Field(min_length=1)]


def parse_tokens(text: bytes, *, is_json: bool) -> list[Token]:
    """The tokens of a file.

    Raises:
        UnusableTokens: it is not such a file.
    """
    try:
        value = json.loads(text) if is_json else tomllib.loads(text.decode("utf-8"))
        entries = _File.model_validate(value).tokens
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise UnusableTokens(f"{_place(fault['loc'])}: {fault['msg']}") from None
    except (ValueError, RecursionError):  # what either parser or the decoder raises; it may quote the file
        raise UnusableTokens(f"not {'JSON' if is_json else 'TOML'} in UTF-8") from None
    tokens = [
        Token(entry.name, bytes.fromhex(entry.sha256), Role[entry.role.upper()], _ranges(entry.types, index))
        for index, entry in enumerate(entries)
    ]
    for what, values in (("name", [token.name for token in tokens]), ("sha256", [token.digest for token in tokens])):
        if len(set(values)) != len(values):
            raise UnusableTokens(f"two tokens have the same {what}")
    return tokens


def _place(location: tuple[int | str, ...]) -> str:
    # Of a choice of types the location goes on with pydantic's own words.
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[:4]]
    return "".join(parts).lstrip(".") or "the file"


def _ranges(types: list[int | str] | None, index: int) -> TypeRanges | None:
    if types is None:
        return None
    ranges = []
    for place, part in enumerate(types):
        bounds = (part, part) if isinstance(part, int) else _bounds(part)
        if bounds is None or not 0 <= bounds[0] <= bounds[1] <= MAX_TYPE:
            raise UnusableTokens(
                f'tokens[{index}].types[{place}]: must be a type or a range such as "10-19", 0 to {MAX_TYPE}'
            )
        ranges.append(bounds)
    return TypeRanges(ranges)


def _bounds(text: str) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


class Tokens:
    """The tokens in force, for one process; without a file, nobody is asked for one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._key = os.urandom(32)
        self._found: dict[bytes, Token] = {}
        self._remembered: dict[bytes, Token] = {}
        self._text: bytes | None = None
        self._look: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"Tokens({sorted(token.name for token in self._found.values())})"

    @property
    def are_required(self) -> bool:
        """Whether a request needs a token at all."""
        return self._path is not None

    def recognise(self, authorization: bytes) -> Token | None:
        """The token that an Authorization header presents; None: no bearer's, or not one of ours."""
        try:
            return self._remembered[authorization]
        except KeyError:
            return self._verify(authorization)

    def _verify(self, authorization: bytes) -> Token | None:
        match = _BEARER.fullmatch(authorization)
        if match is None:
            return None
        digest = hashlib.sha256(match[1]).digest()
        token = self._found.get(self._index(digest))
        if token is None or not hmac.compare_digest(token.digest, digest):
            return None
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[authorization] = token
        return token

    def _index(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._key, digest_size=16).digest()

    def load(self) -> None:
        """Read the file for the first time.

        Raises:
            StartupRefused: it cannot be used.
        """
        try:
            text = self._read_if_changed()
            if text is not None:
                self._take(text)
        except UnusableTokens as error:
            raise StartupRefused(f"PAGEPOOL_TOKENS_FILE: {self._path}: {error}") from None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read the file, and then each time it has changed.

        Raises:
            StartupRefused: it cannot be used.
        """
        self.load()
        task = asyncio.create_task(self._watch(), name="tokens file") if self.are_required else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        complaint = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                text = await asyncio.to_thread(self._read_if_changed)
                if text is None:
                    continue
                self._take(text)
            except UnusableTokens as error:
                if str(error) != complaint:
                    complaint = str(error)
                    _log.error("the tokens file cannot be used, the tokens before it stay: %s", complaint)
            else:
                complaint = ""
                _log.info("the tokens file has changed: %d tokens", len(self._found))

    def _read_if_changed(self) -> bytes | None:
        """The file's text if it is another than before; touches no state that requests use."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
            look = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if look == self._look:
                return None
            with self._path.open("rb") as file:
                text = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            self._look = None
            raise UnusableTokens(f"cannot be read ({error.strerror})") from None
        self._look = look if time.time() - status.st_mtime > _SETTLED_SECONDS else None
        if len(text) > _MAX_FILE_BYTES:
            raise UnusableTokens(f"has more than {_MAX_FILE_BYTES} bytes")
        if text == self._text:
            return None
        self._text = text
        return text

    def _take(self, text: bytes) -> None:
        assert self._path is not None  # noqa: S101 - there is a text only if there is a path
        tokens = parse_tokens(text, is_json=self._path.suffix == ".json")
        found = {self._index(token.digest): token for token in tokens}
        for index, token in found.items():
            if index in self._found:
                token.use = self._found[index].use
        self._found = found
        self._remembered = {}
