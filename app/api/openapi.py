"""The API's description: building blocks for the routes, and what FastAPI cannot say by itself.

A route declares its errors with `problem_responses`, its binary bodies with `binary_request` and `binary_response`, its
JSON body with `json_request`, the headers of its answers with `headers`. `build` then makes one OpenAPI 3.1 document;
`write` puts it where the SDK generators and the tests look for it.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import __version__
from app.api.authorization import NEEDS
from app.api.error_responses import PROBLEM_TYPE, PROBLEM_URN
from app.api.openapi_headers import HEADERS
from app.api.openapi_links import add_links
from app.api.schemas import ExtentList, Problem, ShrinkOrder
from app.errors import (
    BadHeader,
    Forbidden,
    HeadTooLarge,
    InternalError,
    Overloaded,
    PagepoolError,
    Previous,
    RequestTimeout,
    Unauthorized,
)
from app.pool.numbers import TypeConfiguration
from app.pool.parameters import ParametersPatch

Json = dict[str, Any]

BINARY_TYPE = "application/octet-stream"
BINARY_SCHEMA: Json = {"type": "string", "format": "binary"}
BEARER = "bearer"
"""The name of the only security scheme."""
UNIVERSAL_ERRORS = (BadHeader, Forbidden, RequestTimeout, HeadTooLarge, InternalError, Overloaded)
"""Errors that every call can be answered with; `build` adds them to each operation."""

TAGS = [
    {"name": "pages", "description": "Store, load and invalidate pages: one, or an extent of consecutive ones."},
    {"name": "frames", "description": "Many pages in one body, zero and same-filled ones without their bytes."},
    {"name": "types", "description": "Areas of pages: a swap device, a VM's memory, a disk."},
    {"name": "image", "description": "A type as a disk image, by bytes."},
    {"name": "operations", "description": "Tunables, numbers, health."},
]
DESCRIPTION = """\
Stores pages of memory or disk, compressed, zero pages for next to nothing; zswap with a network in front.

All offsets and counts are in pages. Every error is a problem document (RFC 9457) with a stable `code`; the errors of a
store also say in `previous` what became of the page that was there before. An answer with `Retry-After` may be retried.
"""

_REQUEST_MODELS: tuple[type[BaseModel], ...] = (
    ExtentList,
    ParametersPatch,
    Problem,
    ShrinkOrder,
    TypeConfiguration,
)
_INT32_MAX = (1 << 31) - 1
_EXAMPLE_MEMBERS: dict[str, Json] = {
    "page_missing": {"missing": [[42, 1]]},
    "pool_full": {"stored": 1, "rejected": [[43, 7]]},
    "type_full": {"stored": 1, "rejected": [[43, 7]]},
    "metadata_full": {"stored": 1, "rejected": [[43, 7]]},
}


def headers(*names: str) -> Json:
    """Response headers, by reference to the document's components.

    Raises:
        KeyError: a name is not in `app.api.openapi_headers`.
    """
    return {name: {"$ref": f"#/components/headers/{HEADERS[name].key}"} for name in names}


def problem_responses(*errors: type[PagepoolError], is_store: bool = False) -> dict[int | str, Json]:
    """The `responses=` of a route for the errors that are its own; `UNIVERSAL_ERRORS` come by themselves.

    Args:
        errors: classes of `app.errors`.
        is_store: whether the errors bear `previous`.
    """
    responses: dict[int | str, Json] = {}
    for error in errors:
        response = responses.setdefault(error.status, _problem_response())
        _add_error(response, error, is_store=is_store)
    return responses


def binary_request(description: str) -> Json:
    """The `openapi_extra=` of a route whose body is bytes."""
    content = {BINARY_TYPE: {"schema": BINARY_SCHEMA}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def json_request(model: type[BaseModel], description: str) -> Json:
    """The `openapi_extra=` of a route that reads its body with `dependencies.json_body(model)`.

    Raises:
        KeyError: the model is not among those that `build` describes.
    """
    if model not in _REQUEST_MODELS:
        raise KeyError(model.__name__)
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def json_response(model: type[BaseModel], description: str) -> Json:
    """One entry of `responses=`: an answer in JSON of a call that FastAPI does not serialise."""
    return {"description": description, "model": model}


def binary_response(description: str, *header_names: str) -> Json:
    """One entry of `responses=`: an answer whose body is bytes."""
    return {
        "description": description,
        "content": {BINARY_TYPE: {"schema": BINARY_SCHEMA}},
        "headers": headers(*header_names),
    }


def empty_response(description: str, *header_names: str) -> Json:
    """One entry of `responses=`: an answer without a body."""
    return {"description": description, "headers": headers(*header_names)}


def _problem_response() -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "", "content": {PROBLEM_TYPE: {"schema": schema, "examples": {}}}, "headers": {}}


def _add_error(response: Json, error: type[PagepoolError], *, is_store: bool) -> None:
    examples = response["content"][PROBLEM_TYPE]["examples"]
    if error.code in examples:
        return
    value: Json = {
        "type": PROBLEM_URN + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.title,
        "code": error.code,
    }
    if is_store:
        value["previous"] = (error.previous or Previous.UNKNOWN).value
    examples[error.code] = {"summary": error.title, "value": value | _EXAMPLE_MEMBERS.get(error.code, {})}
    response["description"] = ", ".join(f"`{code}`" for code in examples)
    if error.retry_after_seconds is not None:
        response["headers"] |= headers("Retry-After")
    if error is Unauthorized:
        response["headers"] |= headers("WWW-Authenticate")


def build(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of the app; needs no Redis."""
    # FastAPI hands out the routes' own dictionaries, which the next document starts from again.
    described = get_openapi(
        title="Pagepool",
        version=__version__,
        openapi_version="3.1.0",
        summary="A page cache as a service: zswap with a network in front.",
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": "http://127.0.0.1:8000", "description": "As `pagepool serve` listens by default."}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    document: Json = deepcopy(described)
    _, definitions = models_json_schema(
        [(model, "validation") for model in _REQUEST_MODELS], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    schemas = {**components.get("schemas", {}), **definitions["$defs"]}
    # FastAPI's own form of a 422, which is never sent.
    components["schemas"] = {
        name: schema
        for name, schema in sorted(schemas.items())
        if name not in {"HTTPValidationError", "ValidationError"}
    }
    components["securitySchemes"] = {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of PAGEPOOL_TOKENS_FILE. A service without that file asks nobody for one.",
        }
    }
    for operations in document["paths"].values():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                _finish_parameter(parameter)
            _finish_operation(operation, has_body=method != "head")
    add_links(document)
    used = json.dumps(document["paths"])
    components["headers"] = {
        header.key: header.describe() for header in HEADERS.values() if f'"#/components/headers/{header.key}"' in used
    }
    _tidy(document)
    return document


def _finish_parameter(parameter: Json) -> None:
    """Leave out null, which a parameter cannot be on the wire, and spell a header's name as people do."""
    schema: Json = parameter["schema"]
    choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema |= choices[0]
    elif choices:
        schema["anyOf"] = choices
    if parameter["in"] == "header":
        parameter["name"] = parameter["name"].title()


def _finish_operation(operation: Json, *, has_body: bool) -> None:
    responses: Json = operation["responses"]
    if "HTTPValidationError" in json.dumps(responses.get("422", "")):
        del responses["422"]
    is_store = '"previous"' in json.dumps(responses)
    errors: tuple[type[PagepoolError], ...] = UNIVERSAL_ERRORS
    role = NEEDS[operation["operationId"]].role
    if role is None:
        operation["security"] = []
    else:
        errors = (*errors, Unauthorized)
        # OpenAPI 3.1 lets a requirement name the role; the empty one says that it holds only where tokens are required.
        operation["security"] = [{BEARER: [role.word]}, {}]
    for error in errors:
        response = responses.setdefault(str(error.status), _problem_response())
        response.setdefault("headers", {})
        if PROBLEM_TYPE in response.get("content", {}):
            _add_error(response, error, is_store=is_store)
    for response in responses.values():
        response["headers"] = {**response.get("headers", {}), **headers("X-Request-ID")}
        if not has_body:
            # A generated client would parse the problem that an answer to HEAD does not bear.
            response.pop("content", None)
    operation["responses"] = dict(sorted(responses.items()))


def _tidy(node: Any) -> None:
    """Say the width of integers, which generators take for 32 bits, and drop titles that only repeat a name."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    elif isinstance(node, dict):
        if node.get("type") == "integer":
            node.setdefault("format", "int32" if node.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64")
        for schema in [*node.get("properties", {}).values(), node.get("schema", {})]:
            schema.pop("title", None)
            if schema.get("default", ...) is None:
                del schema["default"]
        for name, value in node.items():
            if name not in {"example", "examples", "default"}:
                _tidy(value)


def render(app: FastAPI) -> str:
    """The document as it is committed: indented JSON with a newline at its end."""
    return json.dumps(build(app), indent=2, ensure_ascii=False) + "\n"


def write(app: FastAPI, path: Path) -> None:
    """Write the document, and the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(app), encoding="utf-8")
