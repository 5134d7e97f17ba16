"""What of a request's headers and query the page calls look at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from app.errors import BadHeader, BadParameter
from app.pool.preconditions import ANY, NO_PRECONDITIONS, EntityTag, Preconditions, TagList

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SEPARATOR: Final = re.compile(r"[ \t]*(?:,[ \t]*)+")


@dataclass(slots=True)
class PageHead:
    """The headers that matter to a page call; names were compared in lower case."""

    content_type: bytes | None = None
    content_encoding: bytes | None = None
    content_length: int | None = None
    has_content_range: bool = False
    preconditions: Preconditions = NO_PRECONDITIONS

    @property
    def is_conditional(self) -> bool:
        """Whether the request bears a precondition."""
        return self.preconditions is not NO_PRECONDITIONS


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> PageHead:
    """Pick them out.

    Raises:
        BadHeader: a precondition is no list of entity tags.
    """
    head = PageHead()
    if_match: list[bytes] = []
    if_none_match: list[bytes] = []
    for name, value in headers:
        if name == b"content-length":
            head.content_length = int(value)
        elif name == b"content-type":
            head.content_type = value
        elif name == b"content-encoding":
            head.content_encoding = value
        elif name == b"content-range":
            head.has_content_range = True
        elif name == b"if-match":
            if_match.append(value)
        elif name == b"if-none-match":
            if_none_match.append(value)
    if if_match or if_none_match:
        head.preconditions = Preconditions(
            parse_tags(if_match, "If-Match") if if_match else None,
            parse_tags(if_none_match, "If-None-Match") if if_none_match else None,
        )
    return head


def parse_tags(values: Iterable[bytes], name: str) -> TagList:
    """The entity tags of a header's lines, or ANY for `*` (RFC 9110, sections 8.8.3 and 13.1).

    Raises:
        BadHeader: it is neither.
    """
    text = ", ".join(value.decode("latin-1") for value in values).strip(" \t")
    if text == ANY:
        return ANY
    tags: list[EntityTag] = []
    position = 0
    while position < len(text):
        if separator := _SEPARATOR.match(text, position):
            position = separator.end()
            continue
        tag = _TAG.match(text, position)
        if tag is None or (tags and text[position - 1] not in ", \t"):
            raise BadHeader(f"{name} is neither * nor a list of quoted entity tags.")
        tags.append(EntityTag(tag[2], is_weak=tag[1] is not None))
        position = tag.end()
    if not tags:
        raise BadHeader(f"{name} is empty.")
    return tuple(tags)


@lru_cache(maxsize=1024)
def parse_query(query: bytes) -> Mapping[str, str]:
    """The parameters of a query.

    Raises:
        BadParameter: one is given twice.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BadParameter("A query parameter is given twice.")
    return MappingProxyType(parameters)
