"""Secrets stand in no log, no error and no `repr`; log lines are JSON, one a request, with its id."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.api.guards import AllowedHosts
from app.serve.request_head import HeadReader
from app.settings import Settings
from app.store.endpoint import Endpoint
from tests.harness.raw_http import RawConnection, request
from tests.harness.redis_server import free_port, until
from tests.harness.service import PAGEPOOL, Service, environment
from tests.strangers.conftest import TOKENS, bearer, secret

PAGE = bytes(range(256)) * 16


def test_settings_hide_the_url_of_redis() -> None:
    """In `repr`, `str` and a dump; and in what is said of settings that are wrong."""
    settings = Settings(_env_file=None, redis_url="redis://u:hunter2@h:1")
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in text
    with pytest.raises(ValueError, match="page_size") as raised:
        Settings(_env_file=None, redis_url="redis://u:hunter2@h:1", page_size=5000, tls_key="x")
    assert "hunter2" not in str(raised.value) + repr(raised.value)


def test_endpoints_hide_the_password() -> None:
    """In `repr` and `str`."""
    endpoint = Endpoint.from_url("rediss://u:hunter2@h:1")
    assert endpoint.password == "hunter2"
    assert "hunter2" not in f"{endpoint} {endpoint!r}"


def test_what_is_remembered_of_heads_hides_the_token() -> None:
    """The door remembers header fields, and with them tokens; `repr` does not show them."""
    head = request("GET", "/v1/pages/1/1", None, f"Authorization: Bearer {secret('read')}")[:-4]
    reader = HeadReader(AllowedHosts(["127.0.0.1"]), None, 4096)
    plain = reader.read_request(head + b"\r\n\r\n", len(head))
    assert plain is not None
    assert plain[1].authorization is not None
    assert secret("read") not in f"{plain!r} {reader!r}"


def access_lines(service: Service) -> list[dict[str, object]]:
    whole, _, _ = service.log_text().rpartition("\n")  # the last line may be half written
    lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "pagepool.access"]


def ask(service: Service, id_: str, method: str, path: str, token: str, body: bytes | None = None, *more: str) -> int:
    authorization = [f"{name}: {value}" for name, value in bearer(token).items()]
    with service.raw() as raw:
        raw.send(request(method, path, body, f"X-Request-ID: {id_}", *authorization, *more))
        response = raw.read(method)
    assert response.header("x-request-id") == id_
    return response.status


@pytest.mark.parametrize(
    ("method", "path", "token", "body", "status"),
    [
        ("PUT", "/v1/pages/73/1", "write", PAGE, 204),
        ("GET", "/v1/pages/73/1?count=1", "read", None, 200),
        ("GET", "/v1/pages/73/9", "read", None, 404),
        ("HEAD", "/v1/pages/73/1", "admin", None, 200),
        ("DELETE", "/v1/pages/73/1", "read", None, 403),
        ("GET", "/v1/pages/73/1", "nobody", None, 401),
        ("GET", "/v1/pool", "read", None, 200),
        ("GET", "/nothing", "read", None, 404),
        ("PUT", "/v1/pages/73/01", "write", PAGE, 422),
    ],
)
def test_one_line_a_request(
    guarded: Service, method: str, path: str, token: str, body: bytes | None, status: int
) -> None:
    """With its id, its token's name, no query, no body, no secret; whichever door answered."""
    assert ask(guarded, "setup", "PUT", "/v1/pages/73/1", "write", PAGE) == 204
    id_ = "id-" + re.sub(r"[^a-z0-9]+", "-", f"{method}{path}{token}".lower())
    assert ask(guarded, id_, method, path, token, body) == status

    def own() -> list[dict[str, object]]:
        return [line for line in access_lines(guarded) if line["request_id"] == id_]

    until(lambda: bool(own()), 5, "the line is there")
    (line,) = own()
    assert (line["method"], line["path"], line["status"]) == (method, path.partition("?")[0], status)
    assert isinstance(line["seconds"], float)
    assert line.get("token") == (token if token in TOKENS else None)


def test_no_secret_and_no_page_is_logged(guarded: Service) -> None:
    """Whatever is sent: good tokens, bad ones, tokens where none belong, page bytes."""
    page = b"do-not-log-this-" * 256
    assert ask(guarded, "p-1", "PUT", "/v1/pages/73/2", "write", page) == 204
    assert ask(guarded, "p-2", "PUT", "/v1/pages/73/2", "write", page[:-1]) == 400
    assert ask(guarded, "p-3", "PATCH", "/v1/parameters", "admin", page, "Content-Type: application/json") == 415
    assert ask(guarded, "p-4", "GET", f"/v1/pool?token={secret('admin')}", "nobody") == 401
    for header in ("Bearer do-not-log-this-token", "Basic ZG8tbm90LWxvZy10aGlz", "do-not-log-this"):
        with guarded.raw() as raw:
            raw.send(request("GET", "/v1/pages/73/2", None, f"Authorization: {header}"))
            response = raw.read()
        assert response.status == 401
        assert b"do-not-log" not in response.body
    log = guarded.log_text()
    assert "do-not-log" not in log
    assert "ZG8tbm90" not in log
    assert not [name for name in TOKENS if secret(name) in log]


def test_no_line_can_be_forged(guarded: Service) -> None:
    """What a client sends is escaped: each line is one JSON object, and control characters do not come through."""
    for path in ('/x"},{"', "/x\\n", "/\x7f", "/\xe2\x80\xa8", "/\x1b[31m"):
        with guarded.raw() as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
            raw.read_head()
    for line in guarded.log_text().splitlines():
        assert line.isprintable()
        assert line.isascii()
        if line.startswith("{"):
            json.loads(line)


def test_no_secret_is_on_a_command_line(guarded: Service, tokens_file: Path) -> None:
    """Of any process that the service started."""
    digests = [entry["sha256"] for entry in json.loads(tokens_file.read_text())["tokens"]]
    for pid in guarded.group_members():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert not [each for each in (*digests, *map(secret, TOKENS)) if each in command]


def test_no_access_log_by_default(open_service: Service) -> None:
    """A request costs no line unless that is asked for."""
    assert open_service.client.get("/v1/pool").status_code == 200
    assert not access_lines(open_service)


def test_a_sampled_access_log(start_service: Callable[..., Service]) -> None:
    """Of so many requests one has a line, which says for how many it stands; failures have theirs, all of them."""
    service = start_service(access_log="true", access_log_sample="10", enabled="false")
    with service.raw() as raw:
        for _ in range(40):
            raw.send(request("GET", "/v1/pages/73/9"))
            assert raw.read().status == 404
        for _ in range(7):
            raw.send(request("PUT", "/v1/pages/73/9", PAGE))
            assert raw.read().status == 503

    def lines(status: int) -> list[dict[str, object]]:
        return [line for line in access_lines(service) if line["status"] == status]

    until(lambda: len(lines(503)) == 7, 5, "every failure has its line")
    assert [line["sample"] for line in lines(404)] == [10] * 4
    assert not any("sample" in line for line in lines(503))


@pytest.fixture
def log_pipe(tmp_path: Path) -> Iterator[tuple[int, httpx.Client, subprocess.Popen[bytes]]]:
    """A service with an access log, whose output is a pipe: its read end, a client, the process."""
    port = free_port()
    reading, writing = os.pipe()
    env = environment(tmp_path, port=str(port), access_log="true", data_dir=str(tmp_path / "data"))
    with (
        subprocess.Popen([PAGEPOOL, "serve"], cwd=tmp_path, env=env, stdout=writing, stderr=writing) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client,
    ):
        os.close(writing)
        try:
            until(lambda: is_up(client), 20, "the service is ready")
            yield reading, client, process
        finally:
            process.terminate()
            process.wait(20)
            with suppress(OSError):  # a test may have closed it
                os.close(reading)


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_log_that_nobody_reads(log_pipe: tuple[int, httpx.Client, subprocess.Popen[bytes]]) -> None:
    """Holds up no request: lines are lost, and their number is told once there is room again."""
    reading, client, _ = log_pipe
    many = 6000  # more than the pipe and the queue before it hold
    with RawConnection(("127.0.0.1", client.base_url.port or 0)) as raw:
        for _ in range(many // 200):
            raw.send(request("GET", "/v1/pages/73/9") * 200)
            assert [raw.read().status for _ in range(200)] == [404] * 200
    os.set_blocking(reading, False)
    log = b""

    def lost_are_told() -> bool:
        nonlocal log
        with suppress(BlockingIOError):
            log += os.read(reading, 1 << 16)
        client.get("/livez")
        return b"log lines were lost" in log and log.endswith(b"\n")

    until(lost_are_told, 20, "the loss is told")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    [told] = [line["message"] for line in lines if "lost" in line["message"]]
    written = sum(line.get("path") == "/v1/pages/73/9" for line in lines)
    assert written + int(told.split()[0]) >= many


def test_a_log_whose_reader_has_gone(log_pipe: tuple[int, httpx.Client, subprocess.Popen[bytes]]) -> None:
    """The service goes on, and ends as if nothing were amiss."""
    reading, client, process = log_pipe
    os.close(reading)
    for _ in range(5):
        assert client.get("/v1/pages/73/9").status_code == 404
    process.terminate()
    assert process.wait(20) == 0
