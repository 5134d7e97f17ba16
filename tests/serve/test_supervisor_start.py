"""How a service starts, and when it refuses to: one line for the operator, and an exit status that is not 0."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess

import pytest

from app.serve.certificate import check_certificate
from app.serve.startup_refused import StartupRefused
from app.settings import Settings
from tests.embedded.processes import descendants, pids_of
from tests.harness.redis_server import free_port, until
from tests.serve.supervised import SECONDS, Supervised


def test_beyond_loopback_it_wants_tokens(tmp_path):
    """Without tokens it does not listen where other machines reach it, and says what to set."""
    with Supervised(tmp_path, host="0.0.0.0") as service:
        assert service.wait() == 1
        assert service.errors.count("\n") == 1
        assert "PAGEPOOL_TOKENS_FILE, or PAGEPOOL_ALLOW_ANONYMOUS=true" in service.errors
        assert not service.home.exists()


def test_a_refusing_worker_ends_the_service(tmp_path):
    """A worker that cannot work as it is set up ends the service with its one line: no loop, no traceback."""
    with Supervised(tmp_path, "create_refusing_app", workers="2") as service:
        assert service.wait() == 1
        assert "pagepool: the pool has another page size\n" in service.errors
        assert "Traceback" not in service.errors
        assert service.output == ""


def test_a_worker_that_refuses_beside_one_that_serves(tmp_path):
    """It is started again, and the service goes on: what it lacks is not settings, but Redis at that moment, say."""
    port = free_port()
    with Supervised(tmp_path, "create_once_refusing_app", workers="2", port=str(port)) as service:
        until(lambda: is_listened_on(port), SECONDS, "the first worker serves")
        assert asked(port).status == 200
        (service.home / "go").touch()
        service.wait_until_up()
        assert "2 workers" in service.output
        assert "worker 1" in service.errors
        assert "refused to start: Redis cannot be reached; starting it again" in service.errors


def test_no_worker_serves_before_the_first(tmp_path):
    """The first writes the tunables of the environment, which must not come after a client's PATCH to another."""
    with Supervised(tmp_path, "create_late_first_app", workers="3") as service:
        until((service.home / "waits").exists, SECONDS, "the first worker waits")
        assert len(worker_pids(service)) == 1
        (service.home / "go").touch()
        service.wait_until_up()
        assert len(worker_pids(service)) == 3


def worker_pids(service: Supervised) -> list[int]:
    return pids_of(descendants(service.process.pid), "app.serve.worker")


def is_listened_on(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def asked(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", "/", headers={"Connection": "close"})
    return connection.getresponse()


def test_an_application_that_cannot_be_made_ends_the_service(tmp_path):
    """The same holds for a refusal while the application is built."""
    with Supervised(tmp_path, "create_unloadable_app") as service:
        assert service.wait() == 1
        assert service.errors == "pagepool: no such thing\n"


def test_a_worker_that_never_starts_ends_the_service(tmp_path):
    """A defect at start-up is tried a few times, its traceback logged, and then ends the service."""
    with Supervised(tmp_path, "create_broken_app") as service:
        assert service.wait() == 1
        assert "Traceback" in service.errors
        assert "ended with status 1 3 times while starting" in service.errors


def test_a_unix_socket_instead_of_a_port(tmp_path):
    """With PAGEPOOL_UDS it serves there, for owner and group; a stale socket is replaced, one in use is not."""
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:  # as a service does that was killed
        left_behind.bind(str(path))
    with Supervised(tmp_path / "one", uds=str(path)).wait_until_up() as service:
        assert service.address == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o660
        assert service.get()["redis"] == "+PONG"
        with Supervised(tmp_path / "two", uds=str(path)) as second:
            assert second.wait() == 1
            assert "is in use by another process: stop it, or set PAGEPOOL_UDS" in second.errors
        assert service.get()["redis"] == "+PONG"
    assert not path.exists()


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path):
    """Something that is no socket is never replaced."""
    path = tmp_path / "file"
    path.write_text("precious")
    with Supervised(tmp_path / "one", uds=str(path)) as service:
        assert service.wait() == 1
        assert f"{path} exists and is no socket" in service.errors
    assert path.read_text() == "precious"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A directory with a certificate, its key, the key encrypted, and a key of something else."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    openssl("req", "-x509", *curve, "-nodes", "-keyout", "key", "-out", "certificate", "-subj", "/CN=localhost")
    openssl("req", "-x509", *curve, "-nodes", "-keyout", "other", "-out", "/dev/null", "-subj", "/CN=localhost")
    openssl("ec", "-in", "key", "-aes256", "-passout", "pass:word", "-out", "encrypted")
    return directory


def test_https(tmp_path, tls):
    """With a certificate and its key it serves HTTPS, and says so."""
    certificate = str(tls / "certificate")
    with Supervised(tmp_path, tls_certificate=certificate, tls_key=str(tls / "key")).wait_until_up() as service:
        assert service.address.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        port = int(service.address.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("absent", "PAGEPOOL_TLS_KEY: .*absent cannot be read"),
        ("encrypted", "PAGEPOOL_TLS_KEY: the key is encrypted"),
        ("other", "are no PEM certificate chain and its key"),
        ("certificate", "are no PEM certificate chain and its key"),
    ],
)
def test_a_key_that_does_not_serve_is_refused(tls, key, says):
    """A key that cannot be read, is encrypted, or belongs to another certificate is refused before anything starts."""
    with pytest.raises(StartupRefused, match=says):
        check_certificate(Settings(_env_file=None, tls_certificate=tls / "certificate", tls_key=tls / key))
