"""Settings, and what a service refuses to start with (contract 2.6)."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import free_port, until
from tests.harness.service import PAGEPOOL, DidNotStart, Service, environment, pagepool

BODY = pages.mixed(40, seed=81)
Start = Callable[..., Service]


def test_a_unix_socket(start_service: Start, tmp_path_factory) -> None:
    """PAGEPOOL_UDS: a Unix socket instead of a port."""
    path = tmp_path_factory.mktemp("s") / "p.sock"
    area = Area(start_service(uds=str(path)), 1)
    area.store(0, *BODY)
    assert area.load_pages(0, 40) == BODY


@pytest.mark.parametrize("page_size", [8192, 65536])
def test_other_page_sizes(start_service: Start, page_size: int) -> None:
    """PAGEPOOL_PAGE_SIZE: everything holds for pages of another size."""
    area = Area(start_service(page_size=str(page_size), max_extent_pages="64"), 1, page_size)
    body = pages.mixed(10, seed=1, page_size=page_size)
    assert area.store(60, *body).headers["page-counts"] == pages.counts_header(body)
    assert area.load_pages(60, 10) == body
    assert area.load_frames(60, 10, lz4=1) == dict(enumerate(body, 60))
    check_problem(area.put(1, bytes(4096)), 400, "bad_page_length")
    check_problem(area.get(2**63 // page_size), 422, "bad_address")
    area.store(2**63 // page_size - 1, body[0])
    assert area.service.pool()["page_size"] == page_size
    check_problem(area.put(0, *([bytes(page_size)] * 65)), 413, "extent_too_large")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_size", "5000"),
        ("page_size", "2048"),
        ("page_size", "131072"),
        ("workers", "0"),
        ("progress_timeout", "inf"),
        ("shutdown_timeout", "nan"),
        ("compressor", "gzip"),
        ("accept_threshold_percent", "0"),
        ("max_pool_bytes", "-1"),
        ("persistence", "sometimes"),
        ("namespace", "a b"),
        ("redis_url", "http://127.0.0.1:1"),
        ("host", "0.0.0.0"),
        ("tokens_file", "/no/such/file"),
    ],
)
def test_refuses_to_start(tmp_path, name: str, value: str) -> None:
    """A setting out of its range, or a bind beyond loopback without tokens: refuses to start and says why."""
    settings = {"port": str(free_port()), "data_dir": str(tmp_path / "data"), name: value}
    done = pagepool("serve", home=tmp_path, timeout=30, **settings)
    assert done.returncode != 0
    said = (done.stdout + done.stderr).lower()
    assert name in said or name.replace("_", " ") in said or name.replace("_", "-") in said, said
    assert "traceback" not in said


def test_anonymous_beyond_loopback(start_service: Start) -> None:
    """PAGEPOOL_ALLOW_ANONYMOUS=true lets it listen beyond loopback without tokens."""
    service = start_service(host="0.0.0.0", allow_anonymous="true")
    assert service.client.get("/livez").status_code == 200


def test_namespaces_share_a_redis(start_service: Start, start_redis) -> None:
    """PAGEPOOL_NAMESPACE: two pools on one Redis see nothing of each other."""
    url = start_redis().url
    first = Area(start_service(redis_url=url, namespace="one"), 1)
    second = Area(start_service(redis_url=url, namespace="two", page_size="8192"), 1, 8192)
    first.store(0, BODY[0])
    assert second.is_absent(0)
    assert second.service.pool()["stored_pages"] == 0
    first.service.tune(compressor="zstd")
    assert second.service.parameters()["compressor"] == "lz4"


def test_replicas_share_a_pool(start_service: Start, start_redis) -> None:
    """Two services on one namespace are one pool; a PATCH at one is followed by the other within a second."""
    url = start_redis().url
    first, second = (Area(start_service(redis_url=url), 1) for _ in range(2))
    first.store(0, *BODY)
    assert second.load_pages(0, 40) == BODY
    assert second.numbers() == first.numbers()
    for enabled in (False, True):
        first.service.tune(enabled=enabled)
        until(lambda on=enabled: second.service.parameters()["enabled"] is on, 1.5, "the other service follows")
        until(lambda on=enabled: (second.put(100, BODY[0]).status_code == 204) is on, 0.5, "and obeys")
    first.service.tune(max_pool_bytes=1)
    until(lambda: second.put(100, pages.incompressible()).status_code == 507, 1.5, "the limit holds at the other")


def test_a_pool_of_another_page_size(start_service: Start, start_redis) -> None:
    """The pool records its page size: a service that does not match refuses to start and says why."""
    url = start_redis().url
    area = Area(start_service(redis_url=url), 1)
    area.store(0, BODY[1])
    with pytest.raises(DidNotStart) as refused:
        start_service(redis_url=url, page_size="8192")
    assert "page size" in str(refused.value).lower().replace("_", " ")
    assert area.load(0) == BODY[1]


@pytest.mark.parametrize(("field", "value"), [("format", "2"), ("layout", "another")])
def test_a_pool_of_another_making(start_service: Start, start_redis, field: str, value: str) -> None:
    """The pool records its format number and layout: a service that does not match refuses to start and says why."""
    backend = start_redis()
    service = start_service(redis_url=backend.url)
    Area(service, 1).store(0, BODY[1])
    service.stop()
    with backend.client() as client:
        assert client.hset("pagepool:pool", field, value) == 0, "the field was not there before"
    with pytest.raises(DidNotStart) as refused:
        start_service(redis_url=backend.url)
    assert field in str(refused.value).lower()


def test_the_layout_of_a_pool_is_the_pools(start_service: Start, start_redis) -> None:
    """PAGEPOOL_STRIPES is for a new pool: a pool that is there is read as it was made."""
    url = start_redis().url
    first = Area(start_service(redis_url=url, stripes="16"), 1)
    first.store(0, *BODY)
    second = Area(start_service(redis_url=url, stripes="32"), 1)
    assert second.load_pages(0, 40) == BODY
    second.store(5000, *BODY)
    assert first.load_pages(5000, 40) == BODY
    assert second.service.audit().returncode == 0


def test_two_services_on_one_data_directory(start_service: Start) -> None:
    """Two services never share a data directory: the second says why not, and the first goes on."""
    first = start_service()
    with pytest.raises(DidNotStart) as refused:
        start_service(data_dir=first.settings["data_dir"])
    assert "data" in str(refused.value).lower()
    Area(first, 1).store(0, BODY[0])


def test_two_services_on_a_free_port_each(tmp_path: Path) -> None:
    """PAGEPOOL_PORT=0 picks a port, not a home: of two that name no home the second is told so, and to name one."""
    command = [str(PAGEPOOL), "serve"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment(tmp_path, port="0"), "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as first:
        try:
            assert first.stdout is not None
            assert b"/pagepool/port-0" in first.stdout.readline()
            second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **options)
        finally:
            first.terminate()
    assert first.returncode == 0
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"another service (pid {first.pid}) uses the data directory" in second.stderr
    assert "PAGEPOOL_DATA_DIR" in second.stderr


@pytest.mark.parametrize("persistence", ["everysec", "always"])
def test_pages_survive_a_restart(start_service: Start, persistence: str) -> None:
    """PAGEPOOL_PERSISTENCE: pages, counts and tunables are kept across a restart."""
    service = start_service(persistence=persistence)
    area = Area(service, 1)
    area.store(0, *BODY)
    area.configure(image_bytes=12345)
    numbers = area.numbers()
    service.tune(compressor="zstd")
    service.stop()
    service.start()
    assert area.load_pages(0, 40) == BODY
    assert area.numbers() == numbers
    assert area.show()["configuration"]["image_bytes"] == 12345
    assert service.parameters()["compressor"] == "zstd"
    area.drop()
    assert service.pool()["stored_pages"] == 0


def test_without_persistence_a_restart_is_an_empty_pool(start_service: Start) -> None:
    """PAGEPOOL_PERSISTENCE=none keeps nothing, and the counts say so."""
    service = start_service(persistence="none")
    area = Area(service, 1)
    area.store(0, *BODY)
    service.stop()
    service.start()
    assert area.is_absent(0)
    assert service.pool()["stored_pages"] == 0


def test_initial_tunables(start_service: Start) -> None:
    """The initial values of the tunables come from the environment; one given explicitly wins at every start."""
    service = start_service(compressor="zstd", max_pool_bytes="1000000", persistence="always", enabled="false")
    parameters = service.parameters()
    assert (parameters["compressor"], parameters["max_pool_bytes"], parameters["enabled"]) == ("zstd", 1_000_000, False)
    service.tune(compressor="none", enabled=True, accept_threshold_percent=50)
    service.stop()
    service.settings.pop("enabled")
    service.start()
    parameters = service.parameters()
    assert (parameters["compressor"], parameters["enabled"]) == ("zstd", True)
    assert parameters["accept_threshold_percent"] == 50


def test_no_limit_on_a_redis_of_ones_own(start_redis) -> None:
    """PAGEPOOL_MAX_POOL_BYTES unset: no limit where the Redis is not the service's own."""
    with Service(redis_url=start_redis().url) as service:
        assert service.parameters()["max_pool_bytes"] == 0


def test_a_wrong_password(start_redis) -> None:
    """A Redis that refuses the password: the service says so and never logs the password."""
    redis_ = start_redis(requirepass="right-horse")
    settings = {"port": str(free_port()), "redis_url": f"unix://:wrong-battery@{redis_.socket}"}
    service = None
    try:
        service = Service(**settings)
    except DidNotStart as error:
        said = str(error)
    else:
        said = service.log_text()
        service.close()
    assert "battery" not in said


def test_a_password(start_service: Start, start_redis) -> None:
    """User and password come in the URL, and stand in no log."""
    redis_ = start_redis(requirepass="right-horse")
    service = start_service(redis_url=f"redis://:right-horse@127.0.0.1:{redis_.port}")
    Area(service, 1).store(0, BODY[0])
    assert "right-horse" not in service.log_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_it(start_service: Start, workers: str) -> None:
    """SIGTERM ends the service and every process that it started, in bounded time, with exit status 0."""
    service = start_service(workers=workers)
    Area(service, 1).store(0, BODY[0])
    service.stop()
    assert service.process is not None
    assert service.process.returncode in {0, -signal.SIGTERM}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_leaves_nothing_behind(start_service: Start, workers: str) -> None:
    """After kill -9 of the first process its workers and its Redis are gone in bounded time; it can start again."""
    service = start_service(workers=workers, persistence="always")
    area = Area(service, 1)
    area.store(0, *BODY)
    service.kill()
    until(service.group_is_gone, 10, "no process is left")
    service.start()
    assert area.load_pages(0, 40) == BODY


def test_kill_9_of_any_process(start_service: Start) -> None:
    """After kill -9 of any of its processes: it goes on or ends whole; nothing is left behind when it is stopped."""
    for index in range(5):
        service = start_service(workers="2", persistence="always")
        area = Area(service, 1)
        area.store(0, *BODY)
        members = service.group_members()
        assert len(members) == 5, "the supervisor, the watcher, its Redis, two workers"
        os.kill(members[index], signal.SIGKILL)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if service.process is not None and service.process.poll() is not None:
                until(service.group_is_gone, 10, "no process is left")
                break
            try:
                with service.new_client(headers={"Connection": "close"}) as other:
                    if other.get(area.url(0)).content == BODY[0]:
                        break
            except Exception:  # noqa: BLE001 - whatever the client meets, it tries again within the bound
                continue
        else:
            raise AssertionError(f"neither serving nor gone after kill -9 of process {index} of {len(members)}")
        service.close()


def test_plain_uvicorn(start_service: Start) -> None:
    """`uvicorn --factory app.main:create_app` serves the same, with its own embedded Redis, and ends it."""
    import sys  # noqa: PLC0415

    command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", "{port}"]
    service = start_service(command)
    area = Area(service, 1)
    area.store(0, *BODY)
    assert area.load_pages(0, 40) == BODY
    service.stop()


def test_pagepool_audit_agrees(start_service: Start) -> None:
    """`pagepool audit` recounts the pool and finds no difference."""
    service = start_service()
    area = Area(service, 1)
    area.store(0, *BODY)
    area.store(20, *BODY)
    area.delete(5, count=10)
    done = service.audit()
    assert done.returncode == 0, done.stdout + done.stderr
