"""What handlers are given: the process context, strict path and query numbers, bounded JSON bodies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, NoReturn, Protocol, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema

from app.api.guards import check_json
from app.api.limits import InFlight
from app.errors import BadAddress, BadBody, BadParameter, RangeTooLarge
from app.page.address import MAX_TYPE, check_type, parse_number
from app.pool.numbers import Allocation, Cell, PoolNumbers, Readiness, Shrunk, TypeConfiguration, TypeNumbers
from app.pool.parameters import Parameters, ParametersPatch
from app.telemetry import Telemetry

MAX_JSON_BYTES = 1 << 20
_HELD_BYTES_OF_JSON = 32
"""What a byte of a JSON body takes once it is parsed, at most: a list of short lists is the worst that calls take."""
_MOST_MEMBERS = 64
"""Members of an object that a call takes at most; each unknown one costs an error of its own."""
_LARGEST_SHARE = 4
"""A body counts for this part of the bound at most, so that none is refused for ever where the bound is small."""
_EXACT_FLOATS = 1 << 53
MAX_OFFSET = (1 << 51) - 1
"""The last offset of a pool of the smallest pages; larger pages have fewer, and handlers check against theirs."""

Extent = tuple[int, int]
Model = TypeVar("Model", bound=BaseModel)


class PoolCalls(Protocol):
    """What the JSON calls ask of `app.pool.pool.Pool`; it raises only `app.errors.PagepoolError`."""

    @property
    def page_size(self) -> int: ...
    @property
    def max_extent_pages(self) -> int: ...
    @property
    def parameters(self) -> Parameters: ...

    async def change_parameters(self, patch: ParametersPatch, /) -> Parameters: ...
    async def numbers(self) -> PoolNumbers: ...
    async def types(self, after: int | None, limit: int, /) -> list[TypeNumbers]: ...
    async def type_numbers(self, type_: int, /) -> TypeNumbers: ...
    async def configure_type(self, type_: int, configuration: TypeConfiguration, /) -> TypeConfiguration: ...
    async def delete_type(self, type_: int, /) -> None: ...
    async def allocation(self, type_: int, from_: int, count: int, /) -> Allocation: ...
    async def cell_map(self, type_: int, from_: int, count: int, cells: int, /) -> list[Cell]: ...
    async def invalidate(self, type_: int, extents: Sequence[Extent], /) -> int: ...
    async def zero(self, type_: int, extents: Sequence[Extent], /) -> int: ...
    async def shrink(self, type_: int | None, goal_bytes: int, /) -> Shrunk: ...
    async def readiness(self) -> Readiness: ...


class Context(Protocol):
    """What handlers use of `app.wiring.ProcessContext`."""

    @property
    def pool(self) -> PoolCalls: ...
    @property
    def telemetry(self) -> Telemetry: ...
    @property
    def in_flight(self) -> InFlight: ...


def get_context(request: Request) -> Context:
    """The context of this process, which the lifespan opened."""
    context: Context = request.app.state.context
    return context


def get_pool(request: Request) -> PoolCalls:
    """The pool of this process."""
    return get_context(request).pool


ContextDependency = Annotated[Context, Depends(get_context)]
Pool = Annotated[PoolCalls, Depends(get_pool)]


def _strict(name: str, least: int, most: int) -> BeforeValidator:
    def parse(value: Any) -> int:
        # From the wire it is text. A default is a number already.
        try:
            number = value if isinstance(value, int) else parse_number(str(value), name)
        except BadAddress as error:
            raise ValueError(error.detail) from None
        if not least <= number <= most:
            raise ValueError(f"{name} must be between {least} and {most}.")
        return number

    return BeforeValidator(parse)


def _described(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


TypePath = Annotated[
    int,
    _strict("type", 0, MAX_TYPE),
    _described(0, MAX_TYPE),
    Path(description="The area of pages: a swap device, a VM's memory, a disk.", examples=[1]),
]
OffsetPath = Annotated[
    int,
    _strict("offset", 0, MAX_OFFSET),
    _described(0, MAX_OFFSET),
    Path(description="Index of the first page, in pages.", examples=[42]),
]
AfterQuery = Annotated[
    int | None,
    _strict("after", 0, MAX_TYPE),
    _described(0, MAX_TYPE),
    Query(description="List the types above this one: the `next` of the answer before."),
]
LimitQuery = Annotated[
    int, _strict("limit", 1, 1000), _described(1, 1000), Query(description="Types in one answer at most.")
]
FromQuery = Annotated[
    int,
    _strict("from", 0, MAX_OFFSET),
    _described(0, MAX_OFFSET),
    Query(alias="from", description="First page of the range."),
]
RangeCountQuery = Annotated[
    int | None,
    _strict("count", 1, MAX_OFFSET + 1),
    _described(1, MAX_OFFSET + 1),
    Query(description="Pages in the range; left out: to the end of the type."),
]
MapCountQuery = Annotated[
    int,
    _strict("count", 1, MAX_OFFSET + 1),
    _described(1, MAX_OFFSET + 1),
    Query(description="Pages in the range."),
]
CellsQuery = Annotated[
    int,
    _strict("cells", 1, 4096),
    _described(1, 4096),
    Query(description="Cells to cut the range into, at most."),
]


def refuse_repeated_parameters(request: Request) -> None:
    """Refuse a query that names a parameter twice: which one holds would be a guess.

    Raises:
        BadParameter: a name occurs twice.
    """
    query: bytes = request.scope["query_string"]
    if b"&" not in query:
        return
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    for name in names:
        if names.count(name) > 1:
            raise BadParameter("A query parameter is repeated.")


class HeldJson:
    """A JSON body as the bound on bytes in flight sees it: counted as it comes, until `let_go`."""

    __slots__ = ("_in_flight", "held_bytes")

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self.held_bytes = 0

    def grow(self, body_bytes: int) -> None:
        """Count a body that is so long by now.

        Raises:
            Overloaded: the bound is reached.
        """
        most = self._in_flight.max_bytes // _LARGEST_SHARE
        more = min(body_bytes * _HELD_BYTES_OF_JSON, most) - self.held_bytes
        self._in_flight.hold(more)
        self.held_bytes += more

    def let_go(self) -> None:
        """Count it no longer."""
        self._in_flight.let_go(self.held_bytes)


async def read_json(request: Request, held: HeldJson) -> bytes:
    """The bytes of a body that is declared as JSON, at most MAX_JSON_BYTES.

    Raises:
        UnsupportedMediaType: another media type, or a Content-Encoding.
        RangeTooLarge: the body is longer, or says that it is.
        Overloaded: the service holds as much as it may.
    """
    headers = request.scope["headers"]
    check_json(
        [value for name, value in headers if name == b"content-type"],
        [value for name, value in headers if name == b"content-encoding"],
    )
    too_large = f"A JSON body may have {MAX_JSON_BYTES} bytes."
    if any(name == b"content-length" and int(value) > MAX_JSON_BYTES for name, value in headers):
        raise RangeTooLarge(too_large)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise RangeTooLarge(too_large)
        held.grow(len(body))
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        BadBody: it is not JSON in UTF-8.
        BadParameter: a key is repeated, or a number is NaN, infinite or absurdly long.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_float=_whole_if_possible,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise BadBody("The body is not JSON.") from None
    except ValueError:  # an integer of thousands of digits
        raise BadParameter("A number is out of range.") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) > _MOST_MEMBERS:
        raise BadParameter("An object has too many members.")
    if len(value) != len(pairs):
        raise BadParameter("A key is repeated.")
    return value


def _whole_if_possible(text: str) -> float | int:
    # To JSON Schema 97.0 is an integer, and some clients have no other numbers.
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= _EXACT_FLOATS else number


def _refuse_constant(_: str) -> NoReturn:
    raise BadParameter("A number must be finite.")


def json_body(model: type[Model]) -> Callable[[Request], AsyncIterator[Model]]:
    """A dependency that reads a bounded JSON body and validates it; say its schema with `openapi.json_request`.

    FastAPI's own reading of bodies has no bound by default, and takes the last of repeated keys.
    """

    async def read(request: Request) -> AsyncIterator[Model]:
        # FastAPI looks at a handler's own parameters last; the address comes first (contract 2.1).
        if (text := request.path_params.get("type")) is not None:
            check_type(parse_number(text, "type"))
        held = HeldJson(get_context(request).in_flight)
        try:
            value = parse_json(await read_json(request, held))
            try:
                validated = model.model_validate(value)
            except ValidationError as error:
                raise BadParameter(_faults(error)) from None
            del value
            yield validated
        finally:
            held.let_go()

    return read


def _faults(error: ValidationError) -> str:
    # Only the names of fields and places in lists are told: deeper parts of a location are pydantic's own words, and an
    # unknown key is the client's.
    told: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        field = "" if fault["type"] == "extra_forbidden" else str(fault["loc"][0]) if fault["loc"] else ""
        place = "".join(f"[{part}]" for part in fault["loc"][1:] if isinstance(part, int))
        # Of a choice of types the first says what is wanted; the other is the null that leaves a field out.
        told.setdefault(field + place, fault["msg"].removeprefix("Value error, "))
    return "; ".join(f"{name}: {message}" if name else message for name, message in list(told.items())[:5])
