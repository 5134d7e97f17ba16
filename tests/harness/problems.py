"""What every error looks like (contract, section 2)."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.harness.raw_http import RawResponse

RETRIABLE = {"overloaded", "pool_full", "type_full", "backend_full", "backend_unavailable", "not_replicated"}
TYPE_PREFIX = "urn:pagepool:error:"


def check_problem(
    response: httpx.Response | RawResponse, status: int, code: str | None = None, previous: str | None = None
) -> dict[str, Any]:
    """Check that a response is a whole problem document with this status, code and `previous`; returns the document.

    Retry-After must be there for the codes that may be retried, and for no other.
    """
    if isinstance(response, RawResponse):
        got, body, headers = response.status, response.body, httpx.Headers(response.headers)
    else:
        got, body, headers = response.status_code, response.content, response.headers
    assert got == status, f"{got} in place of {status}: {body[:500]!r}"
    assert headers["content-type"].split(";")[0] == "application/problem+json", body[:500]
    assert headers.get("x-request-id")
    document: dict[str, Any] = json.loads(body)
    assert {"type", "title", "status", "detail", "code"} <= document.keys()
    assert document["status"] == status
    assert document["type"] == TYPE_PREFIX + document["code"]
    assert document["title"]
    assert document["detail"]
    if code is not None:
        assert document["code"] == code, document
    if previous is not None:
        assert document.get("previous") == previous, document
    may_be_retried = document["code"] in RETRIABLE
    assert ("retry-after" in headers) == may_be_retried, document["code"]
    if may_be_retried:
        assert int(headers["retry-after"]) >= 0
    return document
