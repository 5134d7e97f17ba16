"""The table in docs/reference/security.md, cell by cell."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from app import main
from app.api.authorization import NEEDS
from app.main import create_app
from app.settings import Settings
from tests.harness.problems import check_problem
from tests.harness.service import Service
from tests.strangers.conftest import OTHER_TYPE, OWN_TYPE, bearer

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "security.md"
PAGE = bytes(range(256)) * 16
EXTENTS = b'{"extents": [[0, 1]]}'
BODIES: dict[str, tuple[bytes, str]] = {
    "PUT /v1/pages/{type}/{offset}": (PAGE, "application/octet-stream"),
    "PUT /v1/frames/{type}/{offset}": (b"", "application/octet-stream"),
    "POST /v1/pages/{type}/invalidate": (EXTENTS, "application/json"),
    "POST /v1/pages/{type}/zero": (EXTENTS, "application/json"),
    "POST /v1/frames/{type}/load": (EXTENTS, "application/json"),
    "PUT /v1/types/{type}": (b"{}", "application/json"),
    "PATCH /v1/parameters": (b"{}", "application/json"),
    "PUT /v1/types/{type}/image": (PAGE, "application/octet-stream"),
}
QUERIES = {"GET /v1/types/{type}/map": "?count=1"}


def table() -> list[tuple[str, dict[str, str]]]:
    """Each row: the call, and the cells by column."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Role by call")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    names = rows[0][1:]
    return [(row[0], dict(zip(names, row[1:], strict=True))) for row in rows[2:]]


@cache
def served() -> frozenset[str]:
    """Every method and path that the app serves, as the table writes it."""
    described = create_app(Settings(_env_file=None)).openapi()["paths"]
    calls = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    return (
        frozenset(calls)
        | {"GET /openapi.json"}
        | ({"GET /", "GET /v1/activity"} if hasattr(main, "dashboard") else set())
    )


CELLS = [
    (call.strip("`"), token, cell)
    for call, cells in table()
    for token, cell in cells.items()
    if "METRICS_PUBLIC" not in call and call.strip("`") in served()
]


def send(service: Service, call: str, token: str, type_: int) -> int:
    method, path = call.split()
    body, media_type = BODIES.get(call, (None, ""))
    headers = bearer(token) | ({"Content-Type": media_type} if media_type else {})
    target = path.format(type=type_, offset=0) + QUERIES.get(call, "")
    response = service.client.request(method, target, content=body, headers=headers)
    if response.status_code in {401, 403}:
        challenge = response.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="pagepool"')
        assert ("error=" in challenge) == (response.status_code == 403)
        if method != "HEAD":
            check_problem(response, response.status_code)
    return response.status_code


def test_the_table_has_every_call() -> None:
    """No more and no less than the app serves; and the code's own table names no call twice or in vain."""
    calls = {call.strip("`") for call, _ in table() if "METRICS_PUBLIC" not in call}
    assert calls - {"GET /", "GET /v1/activity"} == served() - {"GET /", "GET /v1/activity"}
    assert len(calls) + 1 == len(table())


@pytest.mark.parametrize(("call", "token", "cell"), CELLS, ids=lambda value: value.replace("/v1/", ""))
def test_a_cell(guarded: Service, call: str, token: str, cell: str) -> None:
    """What the cell says is what the service does, through either door."""
    if cell in {"401", "403"}:
        assert send(guarded, call, token, OWN_TYPE) == int(cell)
        return
    assert send(guarded, call, token, OWN_TYPE) not in {401, 403}
    if cell == "own types":
        assert send(guarded, call, token, OTHER_TYPE) == 403
    elif cell == "yes" and token != "no token":
        assert send(guarded, call, token, OTHER_TYPE) not in {401, 403}


def test_own_types_are_listed(guarded: Service) -> None:
    """A restricted token's list has its types alone, page by page; another's has all."""
    types = (3, OWN_TYPE, OTHER_TYPE, 899, 900, 905, 910, 911)
    for type_ in types:
        send(guarded, "PUT /v1/pages/{type}/{offset}", "admin", type_)

    def listed(token: str, limit: int) -> list[int]:
        found: list[int] = []
        after: int | None = None
        while True:
            query = f"?limit={limit}" + ("" if after is None else f"&after={after}")
            answer = guarded.client.get(f"/v1/types{query}", headers=bearer(token)).json()
            found += [each["type"] for each in answer["types"]]
            after = answer["next"]
            if after is None:
                return found

    for limit in (1, 2, 3, 100):
        assert listed("restricted", limit) == [OWN_TYPE, 900, 905, 910]
        assert set(types) <= set(listed("read", limit))
    for type_ in types:
        send(guarded, "DELETE /v1/types/{type}", "admin", type_)


def test_guarded_metrics(start_service, tokens_file: Path) -> None:
    """The row with PAGEPOOL_METRICS_PUBLIC=false."""
    (cells,) = [cells for call, cells in table() if "METRICS_PUBLIC" in call]
    service = start_service(tokens_file=str(tokens_file), metrics_public="false")
    for token, cell in cells.items():
        assert send(service, "GET /metrics", token, 0) == (200 if cell == "yes" else int(cell))


def test_what_is_lacking_is_said(guarded: Service) -> None:
    """In the document and in the challenge: the role, or the type."""
    response = guarded.client.delete("/v1/types/5", headers=bearer("write"))
    document = check_problem(response, 403, "forbidden")
    assert document["required_role"] == "admin"
    assert 'scope="admin"' in response.headers["www-authenticate"]
    document = check_problem(guarded.client.get("/v1/pages/6/0", headers=bearer("restricted")), 403, "forbidden")
    assert document["required_type"] == 6
    response = guarded.client.get("/v1/pool", headers={"Authorization": "Bearer wrong"})
    check_problem(response, 401, "unauthorized")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("method", "path", "with_token"),
    [("GET", "/nothing", 404), ("PATCH", "/v1/pool", 405), ("POST", "/livez", 405), ("GET", "/v1/pages/5/0/x", 404)],
)
def test_what_is_not_there(guarded: Service, method: str, path: str, with_token: int) -> None:
    """A stranger cannot tell it from what is; whoever has a token can."""
    assert guarded.client.request(method, path).status_code == 401
    assert guarded.client.request(method, path, headers=bearer("read")).status_code == with_token


def test_a_malformed_type_is_no_way_in(guarded: Service) -> None:
    """A restricted token with an odd spelling of a foreign type is told that it is malformed, or not allowed."""
    for text in ("06", "+6", "%36", "6%20", "\uff16", "0x6", "6.0", "-6", "4294967301"):
        response = guarded.client.get(f"/v1/pages/{text}/0", headers=bearer("restricted"))
        assert response.status_code in {403, 404, 422}, text


def test_the_document_says_so_too(guarded: Service) -> None:
    """OpenAPI: a bearer scheme, the role of each call, 401 and 403 on every call that is not open."""
    document = guarded.client.get("/openapi.json", headers=bearer("read")).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for methods in document["paths"].values():
        for operation in methods.values():
            role = NEEDS[operation["operationId"]].role
            if role is None:
                assert operation["security"] == []
                assert "401" not in operation["responses"]
            else:
                assert operation["security"] == [{"bearer": [role.word]}, {}]
                assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
                assert "403" in operation["responses"]
