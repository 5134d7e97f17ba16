"""Tokens (PAGEPOOL_TOKENS_FILE): who may do what, through either door."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import frames, pages
from tests.harness.deployments import HAS_IMAGE_VIEW
from tests.harness.problems import check_problem
from tests.harness.redis_server import until
from tests.harness.service import DidNotStart, Service, pagepool

OWN_SERVICE = True
PAGE = pages.compressible(1)
ROLES = ("read", "write", "admin")
OCTETS = {"Content-Type": "application/octet-stream"}
SECRETS = {role: f"{role}-token-of-many-letters" for role in ROLES}
SOME_TYPES = "a-token-for-types-5-and-10-to-19"
EXTENTS = json.dumps({"extents": [[0, 1]]}).encode()


def entry(name: str, secret: str, role: str, types: list | None = None) -> dict:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return {"name": name, "sha256": digest, "role": role} | ({} if types is None else {"types": types})


def write(path: Path, entries: list[dict]) -> None:
    """Write a tokens file in one step, as an operator's editor does."""
    if path.suffix == ".json":
        text = json.dumps({"tokens": entries})
    else:
        tables = ("\n".join(f"{name} = {json.dumps(value)}" for name, value in each.items()) for each in entries)
        text = "".join(f"[[tokens]]\n{table}\n\n" for table in tables)
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


ENTRIES = [
    *(entry(role, secret, role) for role, secret in SECRETS.items()),
    entry("some types", SOME_TYPES, "write", [5, "10-19"]),
]


@pytest.fixture(scope="module")
def tokens_file(tmp_path_factory) -> Path:
    """A tokens file with a token of each role, and one for some types only."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    write(path, ENTRIES)
    return path


@pytest.fixture(scope="module", params=["protocol", "asgi"])
def service(request: pytest.FixtureRequest, tokens_file: Path) -> Iterator[Service]:
    """A service that asks for tokens, through either door."""
    with Service(tokens_file=str(tokens_file), door=request.param, max_pool_bytes="0") as running:
        yield running


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


CALLS: dict[str, tuple[str, str, bytes | None, str, str]] = {
    "load": ("GET", "/v1/pages/{type}/0", None, "", "read"),
    "inspect": ("HEAD", "/v1/pages/{type}/0", None, "", "read"),
    "load frames": ("GET", "/v1/frames/{type}/0", None, "", "read"),
    "gather": ("POST", "/v1/frames/{type}/load", EXTENTS, "application/json", "read"),
    "show type": ("GET", "/v1/types/{type}", None, "", "read"),
    "extents": ("GET", "/v1/types/{type}/extents?from=0&count=1", None, "", "read"),
    "map": ("GET", "/v1/types/{type}/map?from=0&count=1&cells=1", None, "", "read"),
    "types": ("GET", "/v1/types", None, "", "read"),
    "pool": ("GET", "/v1/pool", None, "", "read"),
    "parameters": ("GET", "/v1/parameters", None, "", "read"),
    "store": ("PUT", "/v1/pages/{type}/0", PAGE, "application/octet-stream", "write"),
    "store frames": ("PUT", "/v1/frames/{type}/0", frames.zero(0), "application/octet-stream", "write"),
    "invalidate": ("DELETE", "/v1/pages/{type}/0", None, "", "write"),
    "take": ("POST", "/v1/pages/{type}/0/take", None, "", "write"),
    "invalidate ranges": ("POST", "/v1/pages/{type}/invalidate", EXTENTS, "application/json", "write"),
    "zero ranges": ("POST", "/v1/pages/{type}/zero", EXTENTS, "application/json", "write"),
    "configure type": ("PUT", "/v1/types/{type}", b"{}", "application/json", "admin"),
    "delete type": ("DELETE", "/v1/types/{type}", None, "", "admin"),
    "change parameters": ("PATCH", "/v1/parameters", b"{}", "application/json", "admin"),
}
if HAS_IMAGE_VIEW:
    CALLS["read image"] = ("GET", "/v1/types/{type}/image", None, "", "read")
    CALLS["inspect image"] = ("HEAD", "/v1/types/{type}/image", None, "", "read")
    CALLS["write image"] = ("PUT", "/v1/types/{type}/image", b"x", "", "write")


def make(service: Service, call: str, headers: dict[str, str], type_: int = 5) -> httpx.Response:
    method, path, body, media_type, _ = CALLS[call]
    headers = {**headers, **({"Content-Type": media_type} if media_type else {})}
    return service.client.request(method, path.format(type=type_), content=body, headers=headers)


def check_refused(response: httpx.Response, status: int) -> None:
    """401 or 403, with WWW-Authenticate; a problem document where there is a body."""
    if response.request.method == "HEAD":
        assert response.status_code == status
    else:
        check_problem(response, status, "unauthorized" if status == 401 else "forbidden")
    assert response.headers.get("www-authenticate", "Bearer").startswith("Bearer")


@pytest.fixture
def stored(service: Service) -> None:
    """A page that every call finds."""
    assert (
        service.client.put("/v1/pages/5/0", content=PAGE, headers=OCTETS | bearer(SECRETS["admin"])).status_code == 204
    )


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("role", ROLES)
def test_role_by_call(service: Service, call: str, role: str) -> None:
    """A token may make the calls of its role and of those below it, and is 403 on the others."""
    needed = CALLS[call][4]
    response = make(service, call, bearer(SECRETS[role]))
    if ROLES.index(role) >= ROLES.index(needed):
        assert response.status_code not in {401, 403}
    else:
        check_refused(response, 403)
        if response.content:
            assert needed in response.json()["detail"], "403 says what is lacking"
        load = service.client.get("/v1/pages/5/0", headers=bearer(SECRETS["read"]))
        assert load.content == PAGE


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("call", CALLS)
def test_no_token(service: Service, call: str) -> None:
    """Without a token every call is 401 with WWW-Authenticate, and nothing is done."""
    response = make(service, call, {})
    check_refused(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert service.client.get("/v1/pages/5/0", headers=bearer(SECRETS["read"])).content == PAGE


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        "Bearer",
        "",
        SECRETS["admin"],
        f"Basic {SECRETS['admin']}",
        f"Bearer {SECRETS['admin']}x",
        f"Bearer {SECRETS['admin'][:-1]}",
        f"Bearer {SECRETS['admin'].upper()}",
        f"Bearer {SECRETS['admin']} {SECRETS['admin']}",
        "Bearer " + hashlib.sha256(SECRETS["admin"].encode()).hexdigest(),
        "Bearer " + "x" * 5000,
        "Bearer \xff\xfe",
    ],
)
def test_wrong_tokens(service: Service, value: str) -> None:
    """What is no known token is 401, the digest that stands in the file included."""
    for path in ("/v1/pages/5/0", "/v1/pool"):
        response = service.client.get(path, headers={"Authorization": value.encode("latin-1")})
        assert response.status_code in {400, 401}
        check_problem(response, response.status_code)


def test_the_scheme_is_case_insensitive(service: Service) -> None:
    """`bearer` is `Bearer` (RFC 9110, 11.1)."""
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {SECRETS['read']}"}
        assert service.client.get("/v1/pool", headers=headers).status_code == 200


def test_two_authorizations(service: Service) -> None:
    """Two Authorization headers are refused, whichever of them is good."""
    for first, second in (("wrong", SECRETS["admin"]), (SECRETS["admin"], "wrong")):
        headers = [("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]
        for path in ("/v1/pages/5/0", "/v1/pool"):
            assert service.client.get(path, headers=headers).status_code in {400, 401}


def test_a_refused_store_keeps_the_page(service: Service) -> None:
    """A store without the right is a 4xx: it says `previous: kept`."""
    check_problem(make(service, "store", {}), 401, "unauthorized", "kept")
    check_problem(make(service, "store", bearer(SECRETS["read"])), 403, "forbidden", "kept")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_open_calls(service: Service, path: str) -> None:
    """Health is open, and so are the metrics unless told otherwise."""
    assert service.client.get(path).status_code == 200


@pytest.mark.parametrize(("type_", "status"), [(5, 204), (10, 204), (19, 204), (4, 403), (6, 403), (9, 403), (20, 403)])
def test_a_token_for_some_types(service: Service, type_: int, status: int) -> None:
    """A token restricted to types and ranges of types reaches those and no other."""
    response = make(service, "store", bearer(SOME_TYPES), type_)
    assert response.status_code == status
    for call in ("load", "show type", "gather", "zero ranges", "extents"):
        refused = make(service, call, bearer(SOME_TYPES), type_).status_code == 403
        assert refused == (status == 403)


def test_a_restricted_token_does_not_reach_the_whole_pool(service: Service) -> None:
    """A token restricted to types cannot change the pool, and sees no other types."""
    assert make(service, "change parameters", bearer(SOME_TYPES)).status_code == 403
    admin = bearer(SECRETS["admin"])
    for type_ in (5, 77):
        assert make(service, "store", admin, type_).status_code == 204
    response = make(service, "types", bearer(SOME_TYPES))
    if response.status_code == 200:
        assert {each["type"] for each in response.json()["types"]} <= {5, *range(10, 20)}


def test_a_malformed_address_with_a_token(service: Service) -> None:
    """Whoever has the right is told about a malformed address as ever."""
    for secret in (SECRETS["read"], SOME_TYPES):
        check_problem(service.client.get("/v1/pages/5/01", headers=bearer(secret)), 422, "bad_address")


@pytest.mark.parametrize("path", ["/no/such/path", "/v1/pages/5/0/give"])
def test_unknown_paths(service: Service, path: str) -> None:
    """A stranger learns nothing about which paths there are."""
    assert service.client.get(path).status_code in {401, 404}
    assert service.client.get(path, headers=bearer(SECRETS["read"])).status_code == 404


def test_the_file_is_read_again(service: Service, tokens_file: Path) -> None:
    """The file is read again when it changes: a new token is let in, one that is gone is not."""
    added = "a-token-that-came-later"
    assert service.client.get("/v1/pool", headers=bearer(added)).status_code == 401
    try:
        write(tokens_file, [entry("added", added, "admin")])
        until(lambda: service.client.get("/v1/pool", headers=bearer(added)).status_code == 200, 10, "it is let in")
        assert service.client.get("/v1/pages/5/0", headers=bearer(SECRETS["admin"])).status_code == 401
        tokens_file.write_text("this is no TOML [[")
        os.utime(tokens_file, ns=(1, 1))
        assert service.client.get("/livez").status_code == 200
    finally:
        write(tokens_file, ENTRIES)
    admin = bearer(SECRETS["admin"])
    until(lambda: service.client.get("/v1/pool", headers=admin).status_code == 200, 10, "the old ones are back")


def test_secrets_stand_in_no_log(service: Service) -> None:
    """No token, good or wrong, is ever logged."""
    service.client.get("/v1/pool", headers=bearer("a-wrong-token-not-to-be-logged"))
    service.client.get("/v1/pages/5/0?x", headers=bearer("a-wrong-token-not-to-be-logged"))
    log = service.log_text()
    assert not [secret for secret in (*SECRETS.values(), SOME_TYPES, "not-to-be-logged") if secret in log]


def test_openapi_names_the_scheme(service: Service) -> None:
    """The tokens stand in the OpenAPI document as a bearer scheme."""
    document = service.client.get("/openapi.json", headers=bearer(SECRETS["read"])).json()
    schemes = document["components"]["securitySchemes"].values()
    assert any(scheme["type"] == "http" and scheme["scheme"] == "bearer" for scheme in schemes)


def test_guarded_metrics(start_service, tokens_file: Path) -> None:
    """PAGEPOOL_METRICS_PUBLIC=false guards the metrics as well."""
    service = start_service(tokens_file=str(tokens_file), metrics_public="false")
    check_refused(service.client.get("/metrics"), 401)
    assert service.client.get("/metrics", headers=bearer(SECRETS["read"])).status_code == 200


def test_a_json_file(start_service, tmp_path: Path) -> None:
    """The tokens file may be JSON."""
    write(tmp_path / "tokens.json", ENTRIES)
    service = start_service(tokens_file=str(tmp_path / "tokens.json"))
    assert make(service, "store", {}).status_code == 401
    assert make(service, "store", bearer(SECRETS["write"])).status_code == 204


def test_beyond_loopback_with_tokens(start_service, tokens_file: Path) -> None:
    """With tokens the service may listen beyond loopback."""
    service = start_service(host="0.0.0.0", tokens_file=str(tokens_file))
    check_refused(service.client.get("/v1/pool"), 401)


@pytest.mark.parametrize(
    "text",
    [
        "this is no TOML [[",
        '[[tokens]]\nname = "x"\nrole = "admin"\n',
        '[[tokens]]\nname = "x"\nsha256 = "abc"\nrole = "admin"\n',
        '[[tokens]]\nname = "x"\nsha256 = "' + "0" * 64 + '"\nrole = "owner"\n',
        '[[tokens]]\nname = "x"\nsha256 = "' + "0" * 64 + '"\nrole = "read"\ntypes = ["9-5"]\n',
    ],
)
def test_a_malformed_file(start_service, tmp_path: Path, text: str) -> None:
    """A tokens file that is malformed at the start: the service refuses to start and names the file."""
    (tmp_path / "tokens.toml").write_text(text)
    with pytest.raises(DidNotStart) as refused:
        start_service(tokens_file=str(tmp_path / "tokens.toml"))
    assert "tokens" in str(refused.value).lower()


def test_token_new(start_service, tmp_path: Path) -> None:
    """`pagepool token new` prints a token and the entry that lets it in."""
    done = pagepool("token", "new", "--name", "laptop", "--role", "write", "--types", "1,5-6", home=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "tokens.toml").write_text(done.stdout)
    secret = next(word for line in done.stdout.splitlines() for word in line.split() if len(word) == 43)
    service = start_service(tokens_file=str(tmp_path / "tokens.toml"))
    assert make(service, "store", bearer(secret), 6).status_code == 204
    check_refused(make(service, "store", bearer(secret), 7), 403)
    check_refused(make(service, "delete type", bearer(secret), 6), 403)
