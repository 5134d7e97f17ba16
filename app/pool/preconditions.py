"""RFC 9110's preconditions on one page: If-Match and If-None-Match, evaluated on what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag as a client sent it."""

    opaque: str
    is_weak: bool = False


ANY: Final = "*"

TagList = tuple[EntityTag, ...] | str
"""The tags of a list, or ANY."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What a request demands of the page that is there now."""

    if_match: TagList | None = None
    if_none_match: TagList | None = None

    def match_holds(self, etag: str | None) -> bool:
        """Whether If-Match allows the request, by strong comparison; `etag` is None where the page is absent."""
        if self.if_match is None:
            return True
        if isinstance(self.if_match, str):
            return etag is not None
        return any(not tag.is_weak and tag.opaque == etag for tag in self.if_match)

    def none_match_holds(self, etag: str | None) -> bool:
        """Whether If-None-Match allows the request, by weak comparison."""
        if self.if_none_match is None:
            return True
        if isinstance(self.if_none_match, str):
            return etag is None
        return all(tag.opaque != etag for tag in self.if_none_match)

    def allow_change(self, etag: str | None) -> bool:
        """Whether a store or an invalidate may go ahead."""
        return self.match_holds(etag) and self.none_match_holds(etag)


NO_PRECONDITIONS: Final = Preconditions()


def etag_of(digest: int) -> str:
    """A page's entity tag, without its quotes: 16 hexadecimal digits."""
    return f"{digest:016x}"
