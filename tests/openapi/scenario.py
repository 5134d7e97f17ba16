"""What each generated SDK does against a live service, in Python: `scenario.py URL TOKEN FOLDER`.

FOLDER holds pages.bin (512 pages of every kind), frames.bin (the first 8 of them as a body of frames, for offset 1000),
one.bin (a page with every byte value) and noise.bin (a page that does not shrink). What the service answers in frames
goes to frames-answer.bin. Each step that holds prints `ok` and its name; the first that does not ends the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from pagepool_sdk import AuthenticatedClient, Client
from pagepool_sdk.api.frames import gather_frames, load_frames, store_frames
from pagepool_sdk.api.image import inspect_image, read_image, write_image
from pagepool_sdk.api.operations import change_parameters, get_parameters, get_pool, get_readiness
from pagepool_sdk.api.pages import (
    inspect_pages,
    invalidate_extents,
    invalidate_pages,
    load_pages,
    store_pages,
    take_page,
    zero_extents,
)
from pagepool_sdk.api.types import configure_type, delete_type, get_type, get_type_extents, get_type_map, list_types
from pagepool_sdk.models import ExtentList, ParametersPatch, Problem, TypeConfiguration
from pagepool_sdk.types import File

URL, TOKEN, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PAGES, FRAMES, ONE, NOISE = (
    (FOLDER / name).read_bytes() for name in ("pages.bin", "frames.bin", "one.bin", "noise.bin")
)
TYPE, SIZE, COUNT = 7, 4096, 512
client = AuthenticatedClient(URL, TOKEN)
stranger = Client(URL)


def body(data: bytes) -> File:
    return File(BytesIO(data))


def call(operation: Any, *path: int, status: int, **rest: Any) -> Any:
    """The answer of a call, which must have this status; errors are typed."""
    answer = operation.sync_detailed(*path, client=rest.pop("client", client), **rest)
    assert answer.status_code == status, (operation.__name__, answer.status_code, answer.content[:500])
    if status >= 400 and answer.content:
        assert isinstance(answer.parsed, Problem)
        assert answer.parsed.status == status
    return answer


def data_of(answer: Any) -> bytes:
    return answer.parsed.payload.read()


def authentication() -> None:
    refused = call(get_pool, status=401, client=stranger).parsed
    assert refused.code == "unauthorized"
    assert call(get_readiness, status=200, client=stranger).parsed.status == "ready"
    assert call(get_pool, status=200).parsed.page_size == SIZE


def page() -> None:
    call(store_pages, TYPE, 42, status=204, body=body(ONE))
    loaded = call(load_pages, TYPE, 42, status=200)
    assert data_of(loaded) == ONE
    assert loaded.headers["Page-Kind"] == "compressed"


def extent() -> None:
    stored = call(store_pages, TYPE, 100, status=204, body=body(PAGES))
    assert stored.headers["Page-Counts"].startswith("zero=")
    assert data_of(call(load_pages, TYPE, 100, status=200, count=COUNT)) == PAGES


def frames() -> None:
    call(store_frames, TYPE, 1000, status=204, body=body(FRAMES))
    assert data_of(call(load_pages, TYPE, 1000, status=200, count=8)) == PAGES[: 8 * SIZE]
    answer = data_of(call(load_frames, TYPE, 1000, status=200, count=8))
    (FOLDER / "frames-answer.bin").write_bytes(answer)
    gathered = call(gather_frames, TYPE, status=200, body=ExtentList([[1000, 8]]))
    assert data_of(gathered) == answer


def head() -> None:
    shown = call(inspect_pages, TYPE, 42, status=200)
    assert shown.headers["Content-Length"] == str(SIZE)
    assert int(shown.headers["Page-Stored-Length"]) > 0
    call(inspect_pages, TYPE, 9999, status=404)


def not_modified() -> None:
    etag = call(load_pages, TYPE, 42, status=200).headers["ETag"]
    assert call(load_pages, TYPE, 42, status=304, if_none_match=etag).content == b""
    call(inspect_pages, TYPE, 42, status=304, if_none_match=etag)


def precondition_failed() -> None:
    failed = call(store_pages, TYPE, 42, status=412, body=body(NOISE), if_match='"0000000000000000"').parsed
    assert (failed.code, failed.previous) == ("precondition_failed", "kept")
    assert data_of(call(load_pages, TYPE, 42, status=200)) == ONE


def missing() -> None:
    absent = call(load_pages, TYPE, 9000, status=404, count=3).parsed
    assert (absent.code, absent.missing) == ("page_missing", [[9000, 3]])
    read = call(load_pages, TYPE, 9000, status=200, count=3, missing="zero")
    assert data_of(read) == bytes(3 * SIZE)


def full() -> None:
    call(change_parameters, status=200, body=ParametersPatch(max_pool_bytes=1))
    try:
        refused = call(store_pages, TYPE, 43, status=507, body=body(NOISE))
        assert (refused.parsed.code, refused.parsed.previous) == ("pool_full", "invalidated")
        assert int(refused.headers["Retry-After"]) > 0
        call(store_pages, TYPE, 43, status=204, body=body(bytes(SIZE)))
    finally:
        call(change_parameters, status=200, body=ParametersPatch(max_pool_bytes=0))


def delete() -> None:
    call(invalidate_pages, TYPE, 42, status=204)
    assert call(invalidate_pages, TYPE, 42, status=404).parsed.code == "page_missing"
    assert call(invalidate_pages, TYPE, 1000, status=200, count=4).parsed.invalidated == 4
    assert call(invalidate_extents, TYPE, status=200, body=ExtentList([[1000, 8]])).parsed.invalidated == 4
    assert call(zero_extents, TYPE, status=200, body=ExtentList([[2000, 64]])).parsed.zeroed == 64


def take() -> None:
    assert data_of(call(take_page, TYPE, 43, status=200)) == bytes(SIZE)
    call(take_page, TYPE, 43, status=404)


def types() -> None:
    call(configure_type, TYPE + 1, status=200, body=TypeConfiguration(image_bytes=SIZE * 4))
    assert [each.type_ for each in call(list_types, status=200).parsed.types] == [TYPE, TYPE + 1]
    assert call(get_type, TYPE, status=200).parsed.stored_pages == COUNT + 64
    runs = call(get_type_extents, TYPE, status=200, from_=2000, count=64).parsed.extents
    assert [(run.offset, run.count, run.state) for run in runs] == [(2000, 64, "zero")]
    assert call(get_type_map, TYPE, status=200, from_=2000, count=64, cells=1).parsed.cells[0].zero == 64
    assert call(get_type, TYPE + 2, status=404).parsed.code == "type_unknown"


def image() -> None:
    call(write_image, TYPE + 1, status=204, body=body(ONE + NOISE))
    assert call(inspect_image, TYPE + 1, status=200).headers["Content-Length"] == str(2 * SIZE)
    assert data_of(call(read_image, TYPE + 1, status=200)) == ONE + NOISE
    assert data_of(call(read_image, TYPE + 1, status=206, range_="bytes=4000-4199")) == (ONE + NOISE)[4000:4200]


def parameters() -> None:
    changed = call(change_parameters, status=200, body=ParametersPatch(accept_threshold_percent=80)).parsed
    assert changed == call(get_parameters, status=200).parsed
    assert changed.accept_threshold_percent == 80


def end() -> None:
    for type_ in (TYPE, TYPE + 1):
        call(delete_type, type_, status=204)
    assert call(get_pool, status=200).parsed.stored_pages == 0


STEPS: tuple[Callable[[], None], ...] = (
    *(authentication, page, extent, frames, head, not_modified, precondition_failed, missing),
    *(full, delete, take, types, image, parameters, end),
)

with client, stranger:
    for step in STEPS:
        step()
        print("ok", step.__name__.replace("_", " "))
