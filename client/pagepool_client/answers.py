"""What answers hold, and how they are read: values, and the error that an answer tells of."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from xxhash import xxh3_64_hexdigest

from pagepool_client.errors import BrokenAnswer, PagepoolError, problem_class
from pagepool_client.frames import Extent, Frame, FrameKind, PageCounts, merge_extents


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, headers by their names in lower case, and the whole body."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """What is fixed in a pool: bytes in a page, and pages in one extent at most."""

    page_size: int
    max_extent_pages: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store was answered with: pages by kind, and for a single page its ETag."""

    counts: PageCounts
    etag: str | None


@dataclass(frozen=True, slots=True)
class PageHead:
    """A page without its bytes. `stored_length` is what it adds to `pool_bytes`; 0 for a zero page."""

    kind: str
    etag: str | None
    stored_length: int


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring pages of one state: `data`, `zero` or `hole`."""

    offset: int
    count: int
    state: str


class Allocation(NamedTuple):
    """Runs in ascending order, and the offset up to which they tell."""

    runs: tuple[Run, ...]
    until: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the page map: its range, its pages by kind, and the bytes that they add to `pool_bytes`."""

    offset: int
    count: int
    zero: int
    same: int
    compressed: int
    raw: int
    bytes: int

    @property
    def held(self) -> int:
        """Pages present in it."""
        return self.zero + self.same + self.compressed + self.raw


class LoadedFrames:
    """What an answer in frames held: verified frames, ascending, one for every page that was asked for."""

    __slots__ = ("frames", "page_size", "received_bytes")

    def __init__(self, frames: list[Frame], page_size: int, received_bytes: int) -> None:
        self.frames = frames
        self.page_size = page_size
        self.received_bytes = received_bytes

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """`(offset, bytes)` of each page that is present, ascending."""
        zero = bytes(self.page_size)
        for frame in self.frames:
            if frame.kind is FrameKind.ZERO:
                yield from ((offset, zero) for offset in range(frame.offset, frame.end))
            elif frame.kind is FrameKind.DATA:
                pieces = frame.buffers[0]
                size = self.page_size
                yield from ((frame.offset + i, pieces[i * size : (i + 1) * size]) for i in range(frame.count))
            else:
                yield from zip(range(frame.offset, frame.end), frame.buffers, strict=False)

    @property
    def missing(self) -> list[Extent]:
        """Runs of absent pages."""
        return self._runs(FrameKind.ABSENT)

    @property
    def corrupt(self) -> list[Extent]:
        """Runs of pages that failed the service's check."""
        return self._runs(FrameKind.CORRUPT)

    def _runs(self, kind: FrameKind) -> list[Extent]:
        return merge_extents((frame.offset, frame.count) for frame in self.frames if frame.kind is kind)


def etag_of(page: bytes | bytearray | memoryview) -> str:
    """A page's strong ETag: its XXH3-64 as 16 hex digits, quoted as HTTP wants it."""
    return f'"{xxh3_64_hexdigest(page)}"'


def error_of(answer: Answer) -> PagepoolError:
    """The error that an answer tells of."""
    members: dict[str, Any] = {}
    if answer.headers.get("content-type", "").partition(";")[0].strip() in {
        "application/problem+json",
        "application/json",
    }:
        try:
            document = json.loads(answer.content)
        except ValueError:
            document = None
        if isinstance(document, dict):
            members = document
    problem = problem_class(answer.status_code, str(members.get("code", "")))
    return problem(
        answer.status_code,
        members,
        retry_after=_seconds(answer.headers.get("retry-after")),
        request_id=answer.headers.get("x-request-id"),
    )


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds from now; it is a number or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def read_page(answer: Answer) -> bytes:
    """A single page, which its ETag vouches for."""
    page = answer.content
    if answer.headers["etag"] != etag_of(page):
        raise BrokenAnswer("The page that came does not match its ETag.")
    return page


def read_page_head(answer: Answer) -> PageHead:
    """What the headers say of a single page."""
    headers = answer.headers
    return PageHead(headers["page-kind"], headers.get("etag"), int(headers["page-stored-length"]))


def read_stored(answer: Answer) -> Stored:
    """What a store was answered with."""
    return Stored(PageCounts.parse(answer.headers.get("page-counts", "")), answer.headers.get("etag"))


def read_object(answer: Answer) -> dict[str, Any]:
    """A JSON object."""
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BrokenAnswer("What answers at this address is not a Pagepool service.")
    return cast("dict[str, Any]", document)


def read_object_or_nothing(answer: Answer) -> dict[str, Any]:
    """A JSON object; an empty one where no body came."""
    return read_object(answer) if answer.content else {}


def read_count(answer: Answer, name: str) -> int:
    """The one number of a JSON object."""
    return int(read_object(answer)[name])
