"""The check against the last released description finds what would break a client, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from openapi.breaking import changes, refusals
from openapi.tools import DOCUMENT, RELEASED

Json = dict[str, Any]
Change = Callable[[Json], object]

RELEASE: Json = {
    "info": {"version": "1.4.0"},
    "paths": {
        "/v1/pages/{offset}": {
            "get": {
                "operationId": "load_page",
                "tags": ["pages"],
                "security": [{"bearer": ["read"]}, {}],
                "parameters": [
                    {"in": "path", "name": "offset", "required": True, "schema": {"type": "integer", "maximum": 99}},
                    {"in": "query", "name": "missing", "schema": {"type": "string", "enum": ["error", "zero"]}},
                    {"in": "header", "name": "If-Match", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {"headers": {"ETag": {}}, "content": {"application/octet-stream": {"schema": {}}}},
                    "404": {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/P"}}}},
                },
            },
            "put": {
                "operationId": "patch_page",
                "tags": ["pages"],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Q"}}}},
                "responses": {"204": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "P": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "runs": {"type": "array", "items": {"type": "integer"}}},
                "required": ["code"],
            },
            "Q": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "word": {"type": "string", "enum": ["lz4", "zstd"]},
                    "count": {"type": "integer", "format": "int64", "minimum": 0},
                    "inner": {"$ref": "#/components/schemas/Q"},
                },
            },
        }
    },
}
PAGE = "/v1/pages/{offset}"


def get(document: Json) -> Json:
    return document["paths"][PAGE]["get"]


def put(document: Json) -> Json:
    return document["paths"][PAGE]["put"]


def answered(document: Json) -> Json:
    return document["components"]["schemas"]["P"]


def sent(document: Json) -> Json:
    return document["components"]["schemas"]["Q"]


BREAKING: dict[str, tuple[Change, str]] = {
    "a path": (lambda d: d["paths"].pop(PAGE), f"{PAGE}: the path is gone"),
    "a call": (lambda d: d["paths"][PAGE].pop("put"), f"PUT {PAGE}: the call is gone"),
    "a call's name": (
        lambda d: get(d).update(operationId="load"),
        f"GET {PAGE}: operationId was load_page, is load",
    ),
    "a call's tag": (lambda d: get(d).update(tags=["x"]), f"GET {PAGE}: tags was ['pages'], is ['x']"),
    "a role": (
        lambda d: get(d).update(security=[{"bearer": ["admin"]}]),
        f'GET {PAGE}: security was [{{"bearer": ["read"]}}, {{}}], is [{{"bearer": ["admin"]}}]',
    ),
    "a parameter": (lambda d: get(d)["parameters"].pop(1), f"GET {PAGE}: query parameter missing is gone"),
    "a parameter that must be sent": (
        lambda d: get(d)["parameters"][1].update(required=True),
        f"GET {PAGE}: query parameter missing is required now",
    ),
    "a new parameter that must be sent": (
        lambda d: get(d)["parameters"].append({"in": "query", "name": "n", "required": True, "schema": {}}),
        f"GET {PAGE}: query parameter n is new and required",
    ),
    "a word": (
        lambda d: get(d)["parameters"][1]["schema"]["enum"].remove("zero"),
        f"GET {PAGE}: query parameter missing no longer takes zero",
    ),
    "free text": (
        lambda d: get(d)["parameters"][2]["schema"].update(enum=["*"]),
        f"GET {PAGE}: header parameter If-Match takes certain words only now",
    ),
    "a bound": (
        lambda d: get(d)["parameters"][0]["schema"].update(maximum=9),
        f"GET {PAGE}: path parameter offset: maximum was 99, is 9",
    ),
    "a new bound": (
        lambda d: get(d)["parameters"][0]["schema"].update(minimum=1),
        f"GET {PAGE}: path parameter offset: minimum was none, is 1",
    ),
    "a pattern": (
        lambda d: get(d)["parameters"][2]["schema"].update(pattern="^x$"),
        f"GET {PAGE}: header parameter If-Match: pattern was none, is ^x$",
    ),
    "a body's media type": (
        lambda d: put(d)["requestBody"]["content"].pop("application/json"),
        f"PUT {PAGE}: application/json is no longer accepted",
    ),
    "a body that must be sent": (
        lambda d: put(d)["requestBody"].update(required=True),
        f"PUT {PAGE}: a body is required now",
    ),
    "a property that was taken": (
        lambda d: sent(d)["properties"].pop("count"),
        f"PUT {PAGE}: body.count is no longer taken",
    ),
    "a property that must be sent": (
        lambda d: sent(d).update(required=["word"]),
        f"PUT {PAGE}: body.word is required now",
    ),
    "a property's word": (
        lambda d: sent(d)["properties"]["word"]["enum"].remove("lz4"),
        f"PUT {PAGE}: body.word no longer takes lz4",
    ),
    "a property's width": (
        lambda d: sent(d)["properties"]["count"].update(format="int32"),
        f"PUT {PAGE}: body.count was integer int64, is integer int32",
    ),
    "an answer": (lambda d: get(d)["responses"].pop("404"), f"GET {PAGE}: the answer 404 is gone"),
    "an answer's header": (
        lambda d: get(d)["responses"]["200"]["headers"].clear(),
        f"GET {PAGE}: 200 has lost the header ETag",
    ),
    "an answer's media type": (
        lambda d: get(d)["responses"]["404"]["content"].clear(),
        f"GET {PAGE}: 404 is no longer answered as application/problem+json",
    ),
    "an answer's property": (lambda d: answered(d)["properties"].pop("code"), f"GET {PAGE}: 404.code is gone"),
    "a property that was always there": (
        lambda d: answered(d).update(required=[]),
        f"GET {PAGE}: 404.code may be left out now",
    ),
    "the items of an answer": (
        lambda d: answered(d)["properties"]["runs"]["items"].update(type="string"),
        f"GET {PAGE}: 404.runs[] was integer, is string",
    ),
}

HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "a new path": lambda d: d["paths"].update({"/v1/new": {}}),
    "a new call": lambda d: d["paths"][PAGE].update(head={"operationId": "x", "responses": {}}),
    "a parameter that may be left out": lambda d: get(d)["parameters"].append(
        {"in": "query", "name": "lz4", "schema": {"type": "string"}}
    ),
    "a header in other letters": lambda d: get(d)["parameters"][2].update(name="if-match"),
    "one more word to send": lambda d: get(d)["parameters"][1]["schema"]["enum"].append("skip"),
    "any word to send": lambda d: get(d)["parameters"][1]["schema"].pop("enum"),
    "a wider bound": lambda d: get(d)["parameters"][0]["schema"].update(maximum=999),
    "no bound": lambda d: get(d)["parameters"][0]["schema"].pop("maximum"),
    "a new answer": lambda d: get(d)["responses"].update({"431": {}}),
    "a new property of an answer": lambda d: answered(d)["properties"].update(previous={"type": "string"}),
    "a property that may be sent": lambda d: sent(d)["properties"].update(more={"type": "string"}),
    "open to all": lambda d: get(d).update(security=[]),
    "other words of prose": lambda d: get(d).update(summary="Load", description="A page."),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_a_client_is_found(name: str) -> None:
    """What is gone, narrower, renamed or newly required is a line of its own, and the only one."""
    current = deepcopy(RELEASE)
    change, line = BREAKING[name]
    change(current)
    assert changes(RELEASE, current) == [line]
    assert refusals(RELEASE, current) == [line]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_no_client_notices_is_free(name: str) -> None:
    """Additions and relaxations need no new version."""
    current = deepcopy(RELEASE)
    HARMLESS[name](current)
    assert changes(RELEASE, current) == []


@pytest.mark.parametrize(("version", "is_allowed"), [("2.0.0", True), ("1.5.0", False), ("0.9.0", False)])
def test_only_a_major_version_may_break(version: str, *, is_allowed: bool) -> None:
    """A minor version does not announce a break."""
    current = deepcopy(RELEASE)
    current["info"]["version"] = version
    current["paths"].clear()
    assert (refusals(RELEASE, current) == []) is is_allowed


def test_the_description_breaks_nothing_that_was_released() -> None:
    """openapi.json against released.json, as `make breaking` compares them."""
    if not RELEASED.exists():
        pytest.skip("nothing was released yet")
    released, current = (json.loads(path.read_text(encoding="utf-8")) for path in (RELEASED, DOCUMENT))
    assert refusals(released, current) == []


def test_every_call_of_the_description_is_compared() -> None:
    """A description without its answers' content differs from itself in every call that answers something."""
    current = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    bare = deepcopy(current)
    calls = set()
    for path, methods in bare["paths"].items():
        for method, operation in methods.items():
            operation["responses"] = {}
            calls.add(f"{method.upper()} {path}")
    assert changes(current, current) == []
    assert {line.split(":")[0] for line in changes(current, bare)} == calls
