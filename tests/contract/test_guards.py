"""A page in a browser of the same machine cannot touch the pool (contract 3.7)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import request

PAGE, OTHER = pages.compressible(1), pages.compressible(2)
FOREIGN = [
    "https://evil.example",
    "http://127.0.0.1.evil.example",
    "null",
    "http://localhost.evil.example",
    "file://",
    "",
]


def unsafe_calls(area: Area) -> dict[str, tuple[str, str, bytes | None, str]]:
    octets, json = "application/octet-stream", "application/json"
    return {
        "store": ("PUT", area.url(1), OTHER, octets),
        "delete": ("DELETE", area.url(1), None, octets),
        "take": ("POST", area.url(1) + "/take", None, octets),
        "frames": ("PUT", area.frames_url(1), b"", octets),
        "invalidate": ("POST", f"/v1/pages/{area.type}/invalidate", b'{"extents": [[1, 1]]}', json),
        "zero": ("POST", f"/v1/pages/{area.type}/zero", b'{"extents": [[1, 1]]}', json),
        "configure": ("PUT", area.base, b'{"image_bytes": 1}', json),
        "delete type": ("DELETE", area.base, None, json),
        "image": ("PUT", area.image, OTHER, octets),
        "parameters": ("PATCH", "/v1/parameters", b'{"compressor": "none"}', json),
    }


CALLS = list(unsafe_calls(Area(None, 0)))


def send(area: Area, call: str, headers: dict[str, str]):
    method, path, body, media_type = unsafe_calls(area)[call]
    return area.client.request(method, path, content=body, headers={"Content-Type": media_type, **headers})


@pytest.mark.smoke
@pytest.mark.parametrize("call", CALLS)
def test_foreign_origins(area: Area, call: str) -> None:
    """An unsafe method with a foreign Origin is 403, and nothing is done."""
    area.store(1, PAGE)
    for origin in FOREIGN[:3]:
        check_problem(send(area, call, {"Origin": origin}), 403, "forbidden")
    assert area.load(1) == PAGE
    assert area.service.parameters()["compressor"] == "lz4"
    assert area.show()["configuration"]["image_bytes"] is None


@pytest.mark.parametrize("origin", FOREIGN)
def test_spellings_of_foreign_origins(area: Area, origin: str) -> None:
    """What is not the service's own origin is foreign: lookalikes, null and nothing at all included."""
    check_problem(send(area, "store", {"Origin": origin}), 403, "forbidden", "kept")
    assert area.is_absent(1)


def test_another_port_is_foreign(area: Area) -> None:
    """The same host on another port is another origin."""
    check_problem(send(area, "store", {"Origin": "http://127.0.0.1:1"}), 403, "forbidden", "kept")


@pytest.mark.smoke
def test_the_own_origin(area: Area) -> None:
    """The service's own pages may use it."""
    own = {"Origin": area.service.origin, "Sec-Fetch-Site": "same-origin"}
    assert send(area, "store", own).status_code == 204
    assert send(area, "zero", own).status_code == 200


@pytest.mark.smoke
@pytest.mark.parametrize("call", CALLS)
def test_cross_site_fetches(area: Area, call: str) -> None:
    """An unsafe method with `Sec-Fetch-Site: cross-site` is 403, and nothing is done."""
    area.store(1, PAGE)
    check_problem(send(area, call, {"Sec-Fetch-Site": "cross-site"}), 403, "forbidden")
    assert area.load(1) == PAGE
    assert area.service.parameters()["compressor"] == "lz4"


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_other_fetches(area: Area, site: str) -> None:
    """A fetch that comes from nowhere or from the service's own origin passes."""
    assert send(area, "store", {"Sec-Fetch-Site": site}).status_code == 204


@pytest.mark.smoke
def test_loads_are_not_shared(area: Area) -> None:
    """No answer lets a foreign page read it: there is no CORS header."""
    area.store(1, PAGE)
    for path in (area.url(1), "/v1/pool", "/metrics"):
        response = area.client.get(path, headers={"Origin": FOREIGN[0]})
        assert not any(name.startswith("access-control-") for name in response.headers)
    response = area.client.options(area.url(1), headers={"Origin": FOREIGN[0], "Access-Control-Request-Method": "PUT"})
    assert response.status_code in {403, 405}
    assert not any(name.startswith("access-control-") for name in response.headers)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost:{port}", "127.0.0.1:{port}"]
)
@pytest.mark.parametrize("path", ["page", "/v1/pool", "/livez"])
def test_allowed_hosts(area: Area, host: str, path: str) -> None:
    """Loopback's names are allowed, with the port or without it."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        target = area.url(1) if path == "page" else path
        raw.send(request("GET", target, None, host=host.format(port=area.service.port)))
        assert raw.read().status == 200


@pytest.mark.smoke
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.1.2.3",
        "localhost@evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_foreign_hosts(area: Area, host: str, method: str) -> None:
    """The Host must be an allowed one, on loads as well: DNS rebinding ends here."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send(request(method, area.url(1), OTHER if method == "PUT" else None, host=host))
        response = raw.read()
    assert response.status in {400, 403, 421}
    check_problem(response, response.status)
    assert area.load(1) == PAGE


@pytest.mark.parametrize("path", ["/v1/pool", "/v1/parameters", "/v1/types", "/nothing"])
def test_foreign_hosts_everywhere(area: Area, path: str) -> None:
    """The Host is looked at on every path."""
    with area.service.raw() as raw:
        raw.send(request("GET", path, None, host="evil.example"))
        assert raw.read().status in {400, 403, 421}


@pytest.mark.smoke
@pytest.mark.parametrize("lines", [[], ["Host: localhost", "Host: evil.example"], ["Host: "]])
def test_one_host(area: Area, lines: list[str]) -> None:
    """An HTTP/1.1 request has one Host (RFC 9112, 3.2)."""
    area.store(1, PAGE)
    with area.service.raw() as raw:
        raw.send("\r\n".join([f"GET {area.url(1)} HTTP/1.1", *lines, "", ""]).encode())
        raw.half_close()
        answer = raw.received_before_close()
    assert answer == b"" or answer[:13] in {b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 421 "}


def test_hosts_can_be_allowed(start_service) -> None:
    """PAGEPOOL_ALLOWED_HOSTS names further hosts."""
    service = start_service(allowed_hosts="pool.example, other.example")
    for host, status in (("pool.example", 200), ("other.example:8000", 200), ("evil.example", 403), ("localhost", 200)):
        with service.raw() as raw:
            raw.send(request("GET", "/v1/pool", None, host=host))
            assert raw.read().status == status
