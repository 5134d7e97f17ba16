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
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from app.api.token_entries import Token, UnusableTokens, parse_tokens
from app.serve.startup_refused import StartupRefused
from app.tasks import end

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at."""

_SETTLED_SECONDS: Final = 2.0
"""A file that is younger may change again without a change of its times: it is read at the next look, too."""
_MAX_FILE_BYTES: Final = 16 << 20
_MAX_REMEMBERED: Final = 1024
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")

_log = logging.getLogger("pagepool.tokens")


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
            await end(task)

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
