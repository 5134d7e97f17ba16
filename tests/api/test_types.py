"""The calls on types, and the ranged invalidate and zero."""

from __future__ import annotations

import json

import pytest

from app.api.dependencies import MAX_JSON_BYTES
from tests.api.conftest import Api, assert_problem
from tests.api.fake_pool import FakePool

LAST = (1 << 51) - 1
PLAIN = {"image_bytes": None, "max_pool_bytes": None, "eviction": "none", "ttl_seconds": None, "priority": 0}
"""The configuration of a type that has none."""
BAD_NUMBERS = [
    "-1", "+1", "01", "1.0", "1e3", "0x1", "1_000", "x", "%31", "%2e", "%00", "%D9%A1", "%20", "99999999999999999999",
    "2147483648",
]  # fmt: skip


def test_list_shows_numbers_and_where_to_go_on(api: Api, pool: FakePool) -> None:
    """A list that does not fit its limit says in `next` what to pass as `after`; the last one says null."""
    for type_ in (1, 2, 3):
        pool.put(type_, 0, "zero", "compressed")
    first = api.get("/v1/types?limit=2").json()
    assert [entry["type"] for entry in first["types"]] == [1, 2]
    assert first["next"] == 2
    rest = api.get(f"/v1/types?limit=2&after={first['next']}").json()
    assert [entry["type"] for entry in rest["types"]] == [3]
    assert rest["next"] is None


def test_type_is_told_in_pages_and_bytes(api: Api, pool: FakePool) -> None:
    """A type's answer counts each kind, compressed pages included, and gives the ratio."""
    pool.put(7, 10, "zero", "same", "compressed", "compressed", "raw")
    assert api.get("/v1/types/7").json() == {
        "type": 7,
        "stored_pages": 5,
        "zero_pages": 1,
        "same_filled_pages": 1,
        "compressed_pages": 2,
        "incompressible_pages": 1,
        "pool_bytes": 6122,
        "logical_bytes": 20480,
        "compression_ratio": 3.345,
        "configuration": PLAIN,
        "state": "open",
        "evicted_pages": 0,
        "expired_pages": 0,
        "reclaim_failures": 0,
        "idle": None,
    }


def test_unknown_type_is_404(api: Api) -> None:
    """A type that holds nothing and has no configuration is unknown."""
    assert_problem(api.get("/v1/types/7"), 404, "type_unknown")


def test_ratio_of_zero_pages_alone_is_null(api: Api, pool: FakePool) -> None:
    """A type without a byte of blobs has no ratio."""
    pool.put(1, 0, "zero")
    assert api.get("/v1/types/1").json()["compression_ratio"] is None


def test_configuration_is_replaced_whole(api: Api) -> None:
    """PUT answers the configuration as it is now; an empty one unsets."""
    assert api.call("PUT", "/v1/types/1", json={"image_bytes": 512}).json() == PLAIN | {"image_bytes": 512}
    assert api.get("/v1/types/1").json()["configuration"] == PLAIN | {"image_bytes": 512}
    assert api.call("PUT", "/v1/types/1", json={}).json() == PLAIN


@pytest.mark.parametrize("value", [-1, 1 << 53, 1.5, True, "1", [1]])
def test_configuration_out_of_range_is_refused(api: Api, value: object) -> None:
    """image_bytes is an integer from 0 to 2^53 - 1 or null, and nothing that resembles one."""
    assert_problem(api.call("PUT", "/v1/types/1", json={"image_bytes": value}), 422, "bad_parameter")
    assert api.call("PUT", "/v1/types/1", json={"image_bytes": (1 << 53) - 1}).status_code == 200


def test_delete_is_204_also_when_unknown(api: Api, pool: FakePool) -> None:
    """Deleting a type leaves none, whether there was one or not."""
    pool.put(1, 0, "raw")
    for _ in range(2):
        response = api.call("DELETE", "/v1/types/1")
        assert (response.status_code, response.content) == (204, b"")
    assert 1 not in pool.pages


def test_allocation_map_merges_runs_and_says_up_to_where(api: Api, pool: FakePool) -> None:
    """Extents cover the range from its start without gaps, and `until` is where they end."""
    pool.put(1, 2, "zero", "zero", "raw", "same")
    assert api.get("/v1/types/1/extents?from=1&count=6").json() == {
        "type": 1,
        "from": 1,
        "count": 6,
        "until": 7,
        "extents": [
            {"offset": 1, "count": 1, "state": "hole"},
            {"offset": 2, "count": 2, "state": "zero"},
            {"offset": 4, "count": 2, "state": "data"},
            {"offset": 6, "count": 1, "state": "hole"},
        ],
    }


def test_allocation_map_without_a_range_is_of_the_whole_type(api: Api) -> None:
    """From 0 to the last offset, of which the answer may cover a part."""
    answer = api.get("/v1/types/1/extents").json()
    assert (answer["from"], answer["count"], answer["until"]) == (0, LAST + 1, 64)


def test_cell_map_counts_kinds_and_bytes(api: Api, pool: FakePool) -> None:
    """Each cell counts its own pages."""
    pool.put(1, 0, "zero", "raw", "same")
    cells = api.get("/v1/types/1/map?from=0&count=4&cells=2").json()["cells"]
    assert cells == [
        {"offset": 0, "count": 2, "zero": 1, "same": 0, "compressed": 0, "raw": 1, "bytes": 4105},
        {"offset": 2, "count": 2, "zero": 0, "same": 1, "compressed": 0, "raw": 0, "bytes": 17},
    ]


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_types_in_a_path_are_plain_numbers(api: Api, pool: FakePool, method: str, number: str) -> None:
    """Decimal digits, no sign, no leading zero, no percent-encoding, in range: else 422 and nothing is done."""
    pool.put(1, 0, "raw")
    assert_problem(api.call(method, f"/v1/types/{number}"), 422, "bad_address")
    assert 1 in pool.pages


@pytest.mark.parametrize(
    "query",
    [
        *(f"from={number}" for number in ("-1", "+1", "01", "1.0", "x", "", "%D9%A1", str(LAST + 1))),
        "count=0",
        "count=",
        f"from=1&count={LAST + 1}",
        "count=-5",
    ],
)
def test_ranges_in_a_query_are_checked(api: Api, query: str) -> None:
    """A range that is malformed, empty or reaches past the last offset is a bad address."""
    assert_problem(api.get(f"/v1/types/1/extents?{query}"), 422, "bad_address")


@pytest.mark.parametrize("query", ["count=1&cells=0", "count=1&cells=4097", "count=1&cells=x", "cells=1"])
def test_cells_are_1_to_4096(api: Api, query: str) -> None:
    """A cell map names its count, and at most 4096 cells."""
    assert_problem(api.get(f"/v1/types/1/map?{query}"), 422, "bad_address")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "limit=1&limit=1", "after=1&after=2"]
)
def test_list_parameters_are_checked(api: Api, query: str) -> None:
    """Out of range, malformed or repeated: bad_parameter."""
    assert_problem(api.get(f"/v1/types?{query}"), 422, "bad_parameter")


def test_unknown_query_parameters_are_ignored(api: Api) -> None:
    """A parameter that a call does not know changes nothing."""
    assert api.get("/v1/types?colour=red").status_code == 200


def test_ranged_invalidate_counts_the_pages_that_were_there(api: Api, pool: FakePool) -> None:
    """Extents of any size; holes count nothing; an empty list does nothing."""
    pool.put(1, 0, "raw", "zero", "same")
    extents = [[0, 2], [100, LAST - 99]]
    assert api.call("POST", "/v1/pages/1/invalidate", json={"extents": extents}).json() == {"invalidated": 2}
    assert api.call("POST", "/v1/pages/1/invalidate", json={"extents": []}).json() == {"invalidated": 0}
    assert pool.pages[1] == {2: "same"}


def test_ranged_zero_stores_zero_pages(api: Api, pool: FakePool) -> None:
    """Every page of the ranges is a zero page afterwards."""
    assert api.call("POST", "/v1/pages/1/zero", json={"extents": [[5, 2]]}).json() == {"zeroed": 2}
    assert pool.pages[1] == {5: "zero", 6: "zero"}


def test_ranged_zero_has_a_bound(api: Api, pool: FakePool) -> None:
    """At most 2^20 pages a request, over all its extents."""
    extents = [[0, 1 << 19], [1 << 19, (1 << 19) + 1]]
    document = assert_problem(api.call("POST", "/v1/pages/1/zero", json={"extents": extents}), 413, "range_too_large")
    assert document["previous"] == "kept"
    assert pool.pages == {}


@pytest.mark.parametrize("extent", [[-1, 1], [0, 0], [LAST, 2], [1 << 60, 1], [0, -1]])
@pytest.mark.parametrize("call", ["invalidate", "zero"])
def test_extents_lie_inside_a_type(api: Api, call: str, extent: list[int]) -> None:
    """One extent that does not is a bad address, and nothing is done."""
    body = {"extents": [[0, 1], extent]}
    assert_problem(api.call("POST", f"/v1/pages/1/{call}", json=body), 422, "bad_address")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_body"),
        (b"{", 400, "bad_body"),
        (b"\xff\xfe\x80", 400, "bad_body"),
        (b'{"extents": []} x', 400, "bad_body"),
        (b"[" * 100_000, 400, "bad_body"),
        (b"[]", 422, "bad_parameter"),
        (b"{}", 422, "bad_parameter"),
        (b'{"extents": null}', 422, "bad_parameter"),
        (b'{"extents": [[0]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, 1, 2]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, 1.5]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, true]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, "1"]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, NaN]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, -Infinity]]}', 422, "bad_parameter"),
        (b'{"extents": [[0, ' + b"9" * 5000 + b"]]}", 422, "bad_parameter"),
        (b'{"extents": [], "extents": [[0, 1]]}', 422, "bad_parameter"),
    ],
)
def test_json_is_read_strictly(api: Api, body: bytes, status: int, code: str) -> None:
    """What is not JSON is 400; repeated keys, floats, booleans and infinities for integers are 422."""
    headers = {"content-type": "application/json"}
    document = assert_problem(api.call("POST", "/v1/pages/1/zero", content=body, headers=headers), status, code)
    assert document["previous"] == "kept"


def test_json_bodies_have_a_bound(api: Api) -> None:
    """More than a MiB of JSON is 413, however it is declared."""
    body = json.dumps({"extents": [], "filler": "x" * MAX_JSON_BYTES}).encode()
    response = api.call("POST", "/v1/pages/1/invalidate", content=body, headers={"content-type": "application/json"})
    assert_problem(response, 413, "range_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_json_calls_require_json(api: Api, headers: dict[str, str]) -> None:
    """Another media type, none, or a compressed body is 415."""
    response = api.call("POST", "/v1/pages/1/invalidate", content=b'{"extents": []}', headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


def test_json_may_name_its_charset(api: Api) -> None:
    """Parameters of the media type are let pass."""
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    response = api.call("POST", "/v1/pages/1/invalidate", content=b'{"extents": []}', headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("target", ["/v1/types", "/v1/types/1", "/v1/types/1/extents", "/v1/types/1/map?count=1"])
def test_types_need_redis(api: Api, pool: FakePool, target: str) -> None:
    """While Redis is away every call on types is 503 with Retry-After, and says nothing of a store."""
    pool.reason = "Redis does not answer."
    response = api.get(target)
    document = assert_problem(response, 503, "backend_unavailable")
    assert response.headers["retry-after"] == "1"
    assert "previous" not in document


def test_ranged_zero_is_a_store(api: Api, pool: FakePool) -> None:
    """Its errors say what became of what was there before."""
    pool.reason = "Redis does not answer."
    response = api.call("POST", "/v1/pages/1/zero", json={"extents": [[0, 1]]})
    assert assert_problem(response, 503, "backend_unavailable")["previous"] == "unknown"


@pytest.mark.parametrize(
    "configuration",
    [
        {"image_bytes": 4096, "eviction": "second-chance"},
        {"image_bytes": 0, "ttl_seconds": 1},
        {"max_pool_bytes": 0},
        {"ttl_seconds": 0},
        {"ttl_seconds": 1 << 31},
        {"eviction": "lru"},
        {"priority": 101},
        {"priority": -1},
    ],
)
def test_policies_out_of_range_are_refused(api: Api, configuration: dict[str, object]) -> None:
    """A policy out of its range, or one that would have an image lose pages, is refused."""
    assert_problem(api.call("PUT", "/v1/types/1", json=configuration), 422, "bad_parameter")


@pytest.mark.parametrize("path", ["/v1/pool/shrink", "/v1/types/1/shrink"])
def test_shrink_tells_what_went(api: Api, pool: FakePool, path: str) -> None:
    """A shrink answers how many pages went and how many bytes that freed; bytes must be at least 1."""
    pool.put(1, 0, "raw", "zero", "raw", "raw")
    answer = api.call("POST", path, json={"bytes": 5000})
    assert answer.json() == {"evicted_pages": 2, "expired_pages": 0, "freed_bytes": 8210}
    assert_problem(api.call("POST", path, json={"bytes": 0}), 422, "bad_parameter")
    assert_problem(api.call("POST", path, json={}), 422, "bad_parameter")
