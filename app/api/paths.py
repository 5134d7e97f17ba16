"""Which methods a path takes, over all routers; Starlette knows it one route at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastapi import APIRouter
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route


class PathTable:
    """All paths of an app with their methods."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._methods: dict[re.Pattern[str], set[str]] = {}
        for router in routers:
            for route in router.routes:
                if isinstance(route, Route):
                    self._methods.setdefault(route.path_regex, set()).update(route.methods or ())

    def __repr__(self) -> str:
        return f"PathTable({len(self._methods)} paths)"

    def methods(self, path: str) -> list[str]:
        """The methods that `path` takes, sorted; HEAD wherever GET is. Empty for an unknown path."""
        found: set[str] = set()
        for pattern, methods in self._methods.items():
            if pattern.match(path):
                found |= methods
        return sorted(found | {"HEAD"} if "GET" in found else found)

    def lacks_head(self, path: str) -> bool:
        """Whether HEAD on this path is answered as a GET without its body: it has a GET, but no HEAD of its own."""
        found: set[str] = set()
        for pattern, methods in self._methods.items():
            if pattern.match(path):
                found |= methods
        return "GET" in found and "HEAD" not in found


class OffsetConvertor(Convertor[str]):
    """`{offset:offset}` in a route: any one segment but the words that are calls of their own.

    Without it GET /v1/pages/1/zero would be a bad offset (422), and not a wrong method (405).
    """

    regex = "(?!(?:invalidate|zero|load)(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        """The segment as it is; `dependencies.OffsetPath` or the page core parses it."""
        return value

    def to_string(self, value: str) -> str:
        """The segment as it is."""
        return value


register_url_convertor("offset", OffsetConvertor())
