"""What each call sends, and how its answer is read: shared by the sync and the async client, without I/O.

A call is a value; a client sends it, repeats it where that is allowed, and hands the answer to `parse`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlencode

from pagepool_client.answers import (
    Allocation,
    Answer,
    Cell,
    Layout,
    LoadedFrames,
    PageHead,
    Run,
    Stored,
    error_of,
    read_count,
    read_object,
    read_object_or_nothing,
    read_page,
    read_page_head,
    read_stored,
)
from pagepool_client.errors import BrokenAnswer, PageMissing
from pagepool_client.frames import Buffer, Extent, decode_answer, merge_extents
from pagepool_client.retries import Repeat

T = TypeVar("T")
Missing = Literal["error", "zero"]

PAGES_MEDIA_TYPE: Final = "application/octet-stream"
_OK: Final = 200
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and the reader of its answer. Statuses in `accepted` are answers; all others are errors."""

    method: str
    path: str
    parse: Callable[[Answer], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    accepted: frozenset[int] = frozenset({_OK, _NO_CONTENT})
    repeat: Repeat = Repeat.HARMLESS

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.params)}" if self.params else self.path


# Single pages and extents


def load(type_: int, offset: int) -> Call[bytes]:
    """GET one page; its digest is verified."""
    return Call("GET", _pages(type_, offset), read_page)


def load_if_changed(type_: int, offset: int, etag: str) -> Call[bytes | None]:
    """GET one page unless it still is what the caller has."""
    return Call(
        "GET",
        _pages(type_, offset),
        lambda answer: None if answer.status_code == _NOT_MODIFIED else read_page(answer),
        headers={"If-None-Match": etag},
        accepted=frozenset({_OK, _NOT_MODIFIED}),
    )


def load_extent(type_: int, offset: int, count: int, missing: Missing) -> Call[bytes]:
    """GET `count` pages."""
    params: dict[str, str | int] = {"count": count}
    if missing == "zero":
        params["missing"] = "zero"

    def parse(answer: Answer) -> bytes:
        if not answer.content or len(answer.content) % count:
            raise BrokenAnswer(f"{len(answer.content)} bytes came for {count} pages.")
        return answer.content

    return Call("GET", _pages(type_, offset), parse, params)


def head(type_: int, offset: int) -> Call[PageHead]:
    """HEAD one page."""

    def parse(answer: Answer) -> PageHead:
        if answer.status_code == _NOT_FOUND:  # an answer to HEAD has no body that could say more
            raise PageMissing(_NOT_FOUND, {"code": "page_missing", "title": "Page missing", "missing": [[offset, 1]]})
        return read_page_head(answer)

    return Call("HEAD", _pages(type_, offset), parse, accepted=frozenset({_OK, _NOT_FOUND}))


def store(type_: int, offset: int, data: Buffer, if_match: str | None, if_none_match: str | None) -> Call[Stored]:
    """PUT one page or an extent."""
    headers = {"Content-Type": PAGES_MEDIA_TYPE} | _preconditions(if_match, if_none_match)
    return Call(
        "PUT", _pages(type_, offset), read_stored, headers=headers, content=bytes(data), repeat=_repeat_under(headers)
    )


def take(type_: int, offset: int) -> Call[bytes]:
    """POST …/take: load a page and remove it; never repeated."""
    return Call("POST", f"{_pages(type_, offset)}/take", read_page, repeat=Repeat.NEVER)


def invalidate(type_: int, offset: int, count: int, if_match: str | None) -> Call[int]:
    """DELETE one page or an extent; the number of pages that were there."""
    headers = _preconditions(if_match, None)

    def parse(answer: Answer) -> int:
        if answer.status_code == _NOT_FOUND:
            error = error_of(answer)
            if not isinstance(error, PageMissing):
                raise error
            return 0
        return 1 if answer.status_code == _NO_CONTENT else read_count(answer, "invalidated")

    return Call(
        "DELETE",
        _pages(type_, offset),
        parse,
        {"count": count} if count != 1 else {},
        headers,
        accepted=frozenset({_OK, _NO_CONTENT, _NOT_FOUND}),
        repeat=_repeat_under(headers),
    )


def invalidate_many(type_: int, extents: Iterable[Extent]) -> Call[int]:
    """POST …/invalidate: the number of pages that were there."""
    return _json_call(
        "POST", f"/v1/pages/{type_}/invalidate", {"extents": list(extents)}, lambda a: read_count(a, "invalidated")
    )


def zero_many(type_: int, extents: Iterable[Extent]) -> Call[int]:
    """POST …/zero: the number of pages that are zero now."""
    return _json_call("POST", f"/v1/pages/{type_}/zero", {"extents": list(extents)}, lambda a: read_count(a, "zeroed"))


# Frames


def store_frames(type_: int, offset: int, body: bytes) -> Call[Stored]:
    """PUT frames that are encoded already; all their offsets lie in one extent from `offset`."""
    return Call(
        "PUT",
        f"/v1/frames/{type_}/{offset}",
        read_stored,
        headers={"Content-Type": PAGES_MEDIA_TYPE},
        content=body,
        repeat=Repeat.IF_REFUSED,
    )


def fetch_frames(type_: int, offset: int, count: int, *, lz4: bool) -> Call[bytes]:
    """GET an extent in frames, without decoding them."""
    return Call("GET", f"/v1/frames/{type_}/{offset}", lambda answer: answer.content, _frames_query(count, lz4=lz4))


def load_frames(type_: int, offset: int, count: int, page_size: int, *, lz4: bool) -> Call[LoadedFrames]:
    """GET an extent in frames."""

    def parse(answer: Answer) -> LoadedFrames:
        body = answer.content
        return LoadedFrames(decode_answer(body, page_size, [(offset, count)]), page_size, len(body))

    return Call("GET", f"/v1/frames/{type_}/{offset}", parse, _frames_query(count, lz4=lz4))


def load_many(type_: int, extents: Iterable[Extent], page_size: int, *, lz4: bool) -> Call[LoadedFrames]:
    """POST …/load: scattered extents in one answer."""
    asked = merge_extents(extents)

    def parse(answer: Answer) -> LoadedFrames:
        body = answer.content
        return LoadedFrames(decode_answer(body, page_size, asked), page_size, len(body))

    return _json_call(
        "POST",
        f"/v1/frames/{type_}/load",
        {"extents": asked},
        parse,
        params={"lz4": 1} if lz4 else {},
        repeat=Repeat.HARMLESS,
    )


# Types, parameters, numbers


def get_object(path: str) -> Call[dict[str, Any]]:
    """GET a JSON object."""
    return Call("GET", path, read_object)


def list_types(after: int | None) -> Call[dict[str, Any]]:
    """GET a piece of the list of types: those past `after`."""
    return Call("GET", "/v1/types", read_object, {"limit": 100} | ({} if after is None else {"after": after}))


def configure_type(type_: int, configuration: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """PUT a type's configuration."""
    return _json_call("PUT", f"/v1/types/{type_}", configuration, read_object_or_nothing)


def shrink(type_: int | None, bytes_: int) -> Call[dict[str, Any]]:
    """POST how many bytes a type, or the pool, is to free."""
    path = "/v1/pool/shrink" if type_ is None else f"/v1/types/{type_}/shrink"
    return _json_call("POST", path, {"bytes": bytes_}, read_object)


def delete_type(type_: int) -> Call[None]:
    """DELETE a type: all its pages and its configuration."""
    return Call("DELETE", f"/v1/types/{type_}", lambda _: None, repeat=Repeat.IF_REFUSED)


def change_parameters(changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """PATCH the run-time tunables."""
    return _json_call("PATCH", "/v1/parameters", changes, read_object)


def layout() -> Call[Layout]:
    """GET what is fixed in the pool."""

    def parse(answer: Answer) -> Layout:
        pool = read_object(answer)
        try:
            return Layout(int(pool["page_size"]), int(pool["max_extent_pages"]))
        except (KeyError, TypeError, ValueError):
            raise BrokenAnswer("What answers at this address is not a Pagepool service.") from None

    return Call("GET", "/v1/pool", parse)


def allocation(type_: int, from_: int, count: int) -> Call[Allocation]:
    """GET a piece of the allocation map."""

    def parse(answer: Answer) -> Allocation:
        document = read_object(answer)
        runs = tuple(Run(run["offset"], run["count"], run["state"]) for run in document["extents"])
        until = int(document["until"])
        if until <= from_:
            raise BrokenAnswer("The allocation map tells nothing.")
        return Allocation(runs, until)

    return Call("GET", f"/v1/types/{type_}/extents", parse, {"from": from_, "count": count})


def cell_map(type_: int, from_: int, count: int, cells: int) -> Call[list[Cell]]:
    """GET the page map."""
    names = [member.name for member in fields(Cell)]

    def parse(answer: Answer) -> list[Cell]:
        return [Cell(**{name: cell[name] for name in names}) for cell in read_object(answer)["cells"]]

    return Call("GET", f"/v1/types/{type_}/map", parse, {"from": from_, "count": count, "cells": cells})


def metrics() -> Call[str]:
    """GET the Prometheus text."""
    return Call("GET", "/metrics", lambda answer: answer.content.decode())


# Pieces of requests


def _pages(type_: int, offset: int) -> str:
    return f"/v1/pages/{type_}/{offset}"


def _frames_query(count: int, *, lz4: bool) -> dict[str, str | int]:
    return {"count": count, "lz4": 1} if lz4 else {"count": count}


def _preconditions(if_match: str | None, if_none_match: str | None) -> dict[str, str]:
    named = {"If-Match": if_match, "If-None-Match": if_none_match}
    return {name: value for name, value in named.items() if value is not None}


def _repeat_under(headers: Mapping[str, str]) -> Repeat:
    return Repeat.NEVER if "If-Match" in headers or "If-None-Match" in headers else Repeat.IF_REFUSED


def _json_call(
    method: str,
    path: str,
    document: Any,
    parse: Callable[[Answer], T],
    *,
    params: Mapping[str, str | int] | None = None,
    repeat: Repeat = Repeat.IF_REFUSED,
) -> Call[T]:
    content = json.dumps(document, separators=(",", ":")).encode()
    return Call(method, path, parse, params or {}, {"Content-Type": "application/json"}, content, repeat=repeat)
