"""Every response header that the API describes, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Header:
    """One response header: its name, what it says, the schema of its value, an example."""

    name: str
    description: str
    schema: dict[str, Any]
    example: str | int

    @property
    def key(self) -> str:
        """Its name among the document's components."""
        return self.name.replace("-", "")

    def describe(self) -> dict[str, Any]:
        """The OpenAPI header object."""
        return {"description": self.description, "schema": self.schema, "example": self.example}


_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_KIND = {"type": "string", "enum": ["zero", "same", "compressed", "raw", "absent"]}

HEADERS = {
    header.name: header
    for header in (
        Header("X-Request-ID", "The request's own id if it sent a sane one, else one made here.", _TEXT, "5f1c0e9b-1a"),
        Header("Retry-After", "Seconds to wait; without it a retry is of no use.", _COUNT, 1),
        Header("Allow", "The methods that this path takes.", _TEXT, "GET, HEAD"),
        Header("ETag", "XXH3-64 of the page's bytes: strong.", _TEXT, '"2d06800538d394c2"'),
        Header(
            "Cache-Control", "Caches must ask again, and leave the bytes as they are.", _TEXT, "no-cache, no-transform"
        ),
        Header("Page-Kind", "How the page is kept; absent: it was missing and is read as zeros.", _KIND, "compressed"),
        Header(
            "Page-Counts",
            "Pages stored, by kind.",
            {"type": "string", "pattern": "^zero=[0-9]+, same=[0-9]+, compressed=[0-9]+, raw=[0-9]+$"},
            "zero=1, same=0, compressed=7, raw=0",
        ),
        Header("Page-Stored-Length", "Bytes of the page's blob, as pool_bytes counts it; 0 for zero.", _COUNT, 1311),
        Header("Page-Missing-Count", "Absent pages that are read as zeros.", _COUNT, 4),
        Header("Page-Missing", "Offsets of the absent pages, as long as they are at most 32 runs.", _TEXT, "3-5, 9"),
        Header("Content-Length", "Bytes of the body.", _COUNT, 4096),
        Header("Content-Range", "Which bytes of the image these are.", _TEXT, "bytes 0-4095/1073741824"),
        Header("Accept-Ranges", "The image can be read by ranges of bytes.", _TEXT, "bytes"),
        Header("WWW-Authenticate", "How to authenticate.", _TEXT, "Bearer"),
    )
}
"""By name as it is sent."""
