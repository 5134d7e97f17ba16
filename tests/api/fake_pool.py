"""A pool in memory with the calls that the JSON routes make: kinds of pages, no bytes. A fake that keeps state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.api.limits import InFlight
from app.errors import BackendUnavailable, TypeUnknown
from app.pool.numbers import Allocation, Cell, PoolNumbers, Readiness, Shrunk, TypeConfiguration, TypeNumbers
from app.pool.parameters import Parameters, ParametersPatch
from app.settings import CompressorName, Settings
from app.telemetry import Telemetry

BLOB_BYTES = {"zero": 0, "same": 17, "compressed": 1000, "raw": 4105}


@dataclass
class FakePool:
    """Types of pages by kind; `reason` says why Redis is away, while it is."""

    page_size: int = 4096
    max_extent_pages: int = 512
    parameters: Parameters = field(
        default_factory=lambda: Parameters(
            enabled=True,
            compressor=CompressorName.LZ4,
            max_pool_bytes=0,
            max_stored_pages=1 << 32,
            accept_threshold_percent=90,
        )
    )
    pages: dict[int, dict[int, str]] = field(default_factory=dict)
    configurations: dict[int, TypeConfiguration] = field(default_factory=dict)
    reason: str | None = None
    defect: Exception | None = None

    def _check(self) -> None:
        if self.defect is not None:
            raise self.defect
        if self.reason is not None:
            raise BackendUnavailable(self.reason)

    def put(self, type_: int, offset: int, *kinds: str) -> None:
        self.pages.setdefault(type_, {}).update(enumerate(kinds, offset))

    async def change_parameters(self, patch: ParametersPatch) -> Parameters:
        self._check()
        self.parameters = Parameters.model_validate({**self.parameters.model_dump(), **patch.changes()})
        return self.parameters

    async def numbers(self) -> PoolNumbers:
        self._check()
        kinds = [kind for pages in self.pages.values() for kind in pages.values()]
        total = sum(BLOB_BYTES[kind] for kind in kinds)
        limit = self.parameters.max_pool_bytes
        return PoolNumbers(
            pool_bytes=total,
            stored_pages=len(kinds),
            zero_pages=kinds.count("zero"),
            same_filled_pages=kinds.count("same"),
            incompressible_pages=kinds.count("raw"),
            limit_bytes=limit,
            is_full=0 < limit <= total,
            redis_used_memory_bytes=1 << 20,
        )

    async def types(self, after: int | None, limit: int) -> list[TypeNumbers]:
        self._check()
        known = sorted({*self.pages, *self.configurations})
        return [self._numbers(type_) for type_ in known if after is None or type_ > after][:limit]

    async def type_numbers(self, type_: int) -> TypeNumbers:
        self._check()
        if type_ not in self.pages and type_ not in self.configurations:
            raise TypeUnknown(f"Type {type_} holds no page and has no configuration.")
        return self._numbers(type_)

    def _numbers(self, type_: int) -> TypeNumbers:
        kinds = list(self.pages.get(type_, {}).values())
        return TypeNumbers(
            type=type_,
            stored_pages=len(kinds),
            zero_pages=kinds.count("zero"),
            same_filled_pages=kinds.count("same"),
            incompressible_pages=kinds.count("raw"),
            pool_bytes=sum(BLOB_BYTES[kind] for kind in kinds),
            configuration=self.configurations.get(type_, TypeConfiguration()),
        )

    async def configure_type(self, type_: int, configuration: TypeConfiguration) -> TypeConfiguration:
        self._check()
        self.configurations[type_] = configuration
        return configuration

    async def delete_type(self, type_: int) -> None:
        self._check()
        self.pages.pop(type_, None)
        self.configurations.pop(type_, None)

    async def allocation(self, type_: int, from_: int, count: int) -> Allocation:
        self._check()
        held = self.pages.get(type_, {})
        until = min(from_ + count, from_ + 64)
        runs: list[tuple[int, int, str]] = []
        for offset in range(from_, until):
            kind = held.get(offset)
            state = "hole" if kind is None else "zero" if kind == "zero" else "data"
            if runs and runs[-1][2] == state:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1, state)
            else:
                runs.append((offset, 1, state))
        return Allocation(runs=runs, until=until)

    async def cell_map(self, type_: int, from_: int, count: int, cells: int) -> list[Cell]:
        self._check()
        size = -(-count // cells)
        return [
            self._cell(type_, start, min(size, from_ + count - start)) for start in range(from_, from_ + count, size)
        ]

    def _cell(self, type_: int, offset: int, count: int) -> Cell:
        held = self.pages.get(type_, {})
        kinds = [held[at] for at in held if offset <= at < offset + count]
        of = {kind: kinds.count(kind) for kind in BLOB_BYTES}
        return Cell(offset=offset, count=count, **of, bytes=sum(BLOB_BYTES[kind] for kind in kinds))

    async def invalidate(self, type_: int, extents: Sequence[tuple[int, int]]) -> int:
        self._check()
        held = self.pages.get(type_, {})
        gone = [at for at in held if any(offset <= at < offset + count for offset, count in extents)]
        for at in gone:
            del held[at]
        return len(gone)

    async def zero(self, type_: int, extents: Sequence[tuple[int, int]]) -> int:
        self._check()
        touched = {at for offset, count in extents for at in range(offset, offset + count)}
        self.pages.setdefault(type_, {}).update(dict.fromkeys(touched, "zero"))
        return len(touched)

    async def shrink(self, type_: int | None, goal_bytes: int) -> Shrunk:
        self._check()
        types = self.pages if type_ is None else [type_]
        taken = freed = 0
        for each in types:
            for offset, kind in list(self.pages.get(each, {}).items()):
                if freed < goal_bytes and kind != "zero":
                    del self.pages[each][offset]
                    taken, freed = taken + 1, freed + BLOB_BYTES[kind]
        return Shrunk(evicted_pages=taken, freed_bytes=freed)

    async def readiness(self) -> Readiness:
        return Readiness(is_ready=self.reason is None, reason=self.reason)


@dataclass
class FakeContext:
    """What `create_app` takes in place of the process context that its lifespan would open."""

    pool: FakePool = field(default_factory=FakePool)
    telemetry: Telemetry = field(default_factory=Telemetry)
    in_flight: InFlight = field(init=False)

    def __post_init__(self) -> None:
        self.in_flight = InFlight(Settings(_env_file=None), self.telemetry)
