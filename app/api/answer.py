"""An answer before it is HTTP: what the page core gives to both doors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

HeaderList = Sequence[tuple[bytes, bytes]]


class FixedHeaders:
    """Headers that many answers share: as pairs for ASGI, rendered for the protocol door."""

    __slots__ = ("pairs", "rendered")

    def __init__(self, *pairs: tuple[bytes, bytes]) -> None:
        self.pairs = pairs
        self.rendered = b"".join(b"%b: %b\r\n" % pair for pair in pairs)


NO_HEADERS: Final = FixedHeaders()
PAGE_HEADERS: Final = FixedHeaders(
    (b"content-type", b"application/octet-stream"), (b"cache-control", b"no-cache, no-transform")
)
JSON_HEADERS: Final = FixedHeaders((b"content-type", b"application/json"))


class Answer(NamedTuple):
    """Status, headers and body; `length` stands for a body that is not sent (HEAD)."""

    status: int
    fixed: FixedHeaders
    headers: HeaderList = ()
    body: bytes = b""
    length: int | None = None
