"""The API's description says what the app does, in a form that generators accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api import openapi
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import Api

COMMITTED = Path(__file__).parents[2] / "openapi" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.build(create_app(Settings(_env_file=None)))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_the_committed_document_is_what_the_code_generates() -> None:
    """`make openapi` was run after the last change of the API."""
    assert COMMITTED.read_text(encoding="utf-8") == openapi.render(create_app(Settings(_env_file=None)))


def test_the_document_does_not_depend_on_settings(document: dict[str, Any]) -> None:
    """Every deployment describes the same API."""
    assert openapi.build(create_app(Settings(_env_file=None, port=9, allowed_hosts="a.example"))) == document


def test_the_service_serves_its_description(api: Api, document: dict[str, Any]) -> None:
    """At /openapi.json, as it is committed."""
    assert api.get("/openapi.json").json() == json.loads(json.dumps(document))


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    """With a name, a version and a licence."""
    assert document["openapi"].startswith("3.1")
    assert {"title", "version", "license", "description"} <= document["info"].keys()


def test_operations_are_named_described_and_tagged(document: dict[str, Any]) -> None:
    """OperationId makes a good method name and is unique; summary, description and one tag that is declared."""
    seen = set()
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), name
        assert operation["operationId"] not in seen, name
        seen.add(operation["operationId"])
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in tags, name


def test_errors_are_problem_documents(document: dict[str, Any]) -> None:
    """Every 4xx and 5xx with a body has the problem schema and an example for each code; HEAD has no body."""
    for name, operation in operations(document):
        assert {"400", "403", "500", "503"} <= operation["responses"].keys(), name
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)
            if name.startswith("HEAD "):
                assert "content" not in response, (name, status)
            elif status >= "400":
                assert response["content"].keys() == {"application/problem+json"}, (name, status)
                media = response["content"]["application/problem+json"]
                assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert media["examples"], (name, status)
                assert all(example["value"]["status"] == int(status) for example in media["examples"].values())
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_answer_describes_its_request_id(document: dict[str, Any]) -> None:
    """X-Request-ID is among the headers of all responses."""
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"], (name, status)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """No $ref dangles, and no component is idle."""
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    declared = {f"#/components/{kind}/{name}" for kind, parts in document["components"].items() for name in parts}
    assert used <= declared
    assert not {name for name in declared - used if not name.startswith("#/components/securitySchemes/")}


def test_a_call_that_is_open_says_so(document: dict[str, Any]) -> None:
    """Every operation states whom it lets in; an empty list: anyone."""
    for name, operation in operations(document):
        assert bool(operation["security"]) == (name not in {"GET /livez", "GET /readyz"}), name


def test_integers_have_a_width(document: dict[str, Any]) -> None:
    """Generators take an integer for 32 bits unless told; offsets and byte counts are not."""
    for node in nodes(document["paths"]):
        if node.get("type") == "integer":
            assert node["format"] in {"int32", "int64"}
    offset = openapi.build(create_app(Settings(_env_file=None)))["components"]["schemas"]["ExtentRun"]["properties"][
        "offset"
    ]
    assert offset["format"] == "int64"


def test_numbers_in_paths_and_queries_have_a_range(document: dict[str, Any]) -> None:
    """A generator, and a fuzzer, learns from the document what is in range."""
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "anyOf" not in parameter["schema"], (name, parameter)
            if parameter["schema"]["type"] == "integer":
                assert {"minimum", "maximum"} <= parameter["schema"].keys(), (name, parameter)
                assert not {"ge", "le"} & parameter["schema"].keys(), (name, parameter)


def test_json_bodies_are_required_and_typed(document: dict[str, Any]) -> None:
    """A call with a body names its schema by reference, or is binary."""
    for name, operation in operations(document):
        if "requestBody" not in operation:
            continue
        (media_type, media), *_ = operation["requestBody"]["content"].items()
        assert operation["requestBody"]["required"], name
        if media_type == "application/json":
            assert "$ref" in media["schema"], name
        else:
            assert media["schema"] == {"type": "string", "format": "binary"}, name


def test_examples_validate_against_the_problem_schema(document: dict[str, Any]) -> None:
    """An example of an error is a problem document."""
    required = set(document["components"]["schemas"]["Problem"]["required"])
    assert required == {"type", "title", "status", "detail", "code"}
    for node in nodes(document["paths"]):
        for example in node.get("examples", {}).values() if isinstance(node.get("examples"), dict) else ():
            assert required <= example["value"].keys()


def test_writing_makes_the_folder(tmp_path: Path) -> None:
    """`pagepool openapi` writes where it is told."""
    target = tmp_path / "new" / "openapi.json"
    openapi.write(create_app(Settings(_env_file=None)), target)
    assert json.loads(target.read_text(encoding="utf-8"))["openapi"] == "3.1.0"
