"""The entries of the tokens file, and how they are read. What stands there is never repeated: it may be a token."""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.page.address import MAX_TYPE

_RANGE: Final = re.compile(r"(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})", re.ASCII)


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
