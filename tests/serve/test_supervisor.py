"""The processes of `pagepool serve`, killed in every way. Each service here is a real one, with its own Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.processes import is_running
from tests.harness.redis_server import free_port, until
from tests.serve.supervised import SECONDS, Supervised


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """A service of two workers that every test leaves as it found it: running."""
    with Supervised(tmp_path_factory.mktemp("shared"), workers="2", namespace="tiny") as service:
        yield service.wait_until_up()


def answers_of_all(service: Supervised, workers: int) -> dict[int, dict[str, Any]]:
    """An answer of each worker, by index."""
    answers: dict[int, dict[str, Any]] = {}

    def ask() -> bool:
        answer = service.get()
        answers[answer["context"]["index"]] = answer
        return len(answers) == workers

    until(ask, SECONDS, "every worker has answered")
    return answers


def redis_is_back(service: Supervised) -> bool:
    return service.get()["redis"] == "+PONG"


def test_it_says_where_it_listens(shared):
    """Once every worker serves, one line says where, on what Redis, and where its data is."""
    assert shared.output.count("\n") == 1
    assert shared.address.startswith("http://127.0.0.1:")
    assert ", 2 workers, embedded Redis " in shared.output
    assert f" in {shared.home}, persistence none" in shared.output


def test_every_worker_knows_its_place(shared):
    """Each worker has its index, the shared memory, and the socket of the one Redis; its settings are the service's."""
    answers = answers_of_all(shared, 2)
    assert sorted(answers) == [0, 1]
    assert {answer["redis"] for answer in answers.values()} == {"+PONG"}
    assert {answer["namespace"] for answer in answers.values()} == {"tiny"}
    assert answers[0]["given"] == ["data_dir", "door", "namespace", "port", "workers"]
    assert answers[0]["context"]["redis_socket"] == answers[1]["context"]["redis_socket"]


def test_workers_share_memory(shared):
    """What one worker writes into the shared memory the others see."""
    before = shared.get()["visits"]
    answers_of_all(shared, 2)
    assert shared.get()["visits"] > before + 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_a_worker_holds_no_descriptor_that_is_not_its_own(shared):
    """Nothing of the supervisor's leaks into a worker: neither pipes to other children, nor sockets, nor the lock."""
    answer = shared.get()
    context = answer["context"]
    given = {0, 1, 2, *context["listen_fds"], context["death_fd"], context["ready_fd"], context["telemetry_fd"]}
    own = _open_files(answer["pid"])
    common = ("anon_inode", "/dev/")  # names that many descriptors bear
    supervisors = {link for link in _open_files(shared.process.pid).values() if not link.startswith(common)}
    supervisors.remove(own[context["telemetry_fd"]])  # of what it maps, Python's mmap keeps a copy open
    assert not [link for fd, link in own.items() if fd not in given and link in supervisors]
    assert not [link for link in own.values() if link.endswith("service.lock")]


def _open_files(pid: int) -> dict[int, str]:
    links = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links[int(path.name)] = str(path.readlink())
    return links


def test_a_killed_worker_is_started_again(shared):
    """After kill -9 of a worker: another of the same index serves, and knows that it is a restart; the counts go on."""
    killed = answers_of_all(shared, 2)[1]
    os.kill(killed["pid"], signal.SIGKILL)
    until(lambda: len(shared.pids("app.serve.worker")) == 2 and not is_running(killed["pid"]), SECONDS, "two workers")

    def successor() -> dict[str, Any]:
        return answers_of_all(shared, 2)[1]

    until(lambda: successor()["pid"] != killed["pid"], SECONDS, "the successor answers")
    assert successor()["context"]["is_restart"]
    assert successor()["visits"] > 0


def test_killed_redis_is_started_again(shared):
    """After kill -9 of Redis: the workers reach another one on the same path."""
    first = shared.pids("redis-server")
    os.kill(first[0], signal.SIGKILL)
    until(lambda: shared.pids("redis-server") not in (first, []) and redis_is_back(shared), SECONDS, "Redis is back")


def test_killed_watcher_is_started_again(shared):
    """After kill -9 of the watcher: its Redis ends with it, and both are there again on the same path."""
    first_redis, first_watcher = shared.pids("redis-server"), shared.pids("app.embedded.watcher")
    os.kill(first_watcher[0], signal.SIGKILL)
    until(lambda: not is_running(first_redis[0]), SECONDS, "the first Redis has ended")
    until(lambda: shared.pids("redis-server") not in (first_redis, []) and redis_is_back(shared), SECONDS, "it is back")
    assert shared.pids("app.embedded.watcher") != first_watcher


def test_sighup_is_ignored(shared):
    """A closed terminal does not end the service."""
    workers = shared.pids("app.serve.worker")
    shared.send(signal.SIGHUP)
    for pid in workers:
        os.kill(pid, signal.SIGHUP)
    assert shared.get()["redis"] == "+PONG"
    assert shared.pids("app.serve.worker") == workers


def test_a_second_service_on_the_same_directory_is_refused(shared, tmp_path):
    """The second service on a data directory says in one line which it is, who has it and what to do, and ends."""
    with Supervised(tmp_path, data_dir=str(shared.home)) as second:
        assert second.wait() == 1
        assert second.errors.count("\n") == 1
        assert f"pid {shared.process.pid}) uses the data directory {shared.home}: stop it, or" in second.errors
        assert second.output == ""
    assert shared.get()["redis"] == "+PONG"


def test_an_address_in_use_is_refused(shared, tmp_path):
    """A port that is taken ends the service with one line that names it."""
    with Supervised(tmp_path, port=shared.address.rpartition(":")[2]) as second:
        assert second.wait() == 1
        assert second.errors.count("\n") == 1
        assert "is in use by another process: stop it, or set PAGEPOOL_PORT" in second.errors


def test_sigterm_ends_it_in_good_order(tmp_path):
    """SIGTERM: requests in flight are answered, then all ends with status 0, and nothing is left."""
    with Supervised(tmp_path, workers="2").wait_until_up() as service:
        family = service.family()
        assert len(family) == 4
        connection = service.connect()
        connection.request("GET", "/slow?1.0")
        until(lambda: _is_in_flight(service), SECONDS, "the request is in flight")
        service.send(signal.SIGTERM)
        assert connection.getresponse().status == 200
        connection.close()
        assert service.wait() == 0
        assert not any(map(is_running, family))
        assert service.errors == ""
        assert not (service.home / "redis.sock").is_symlink()


def _is_in_flight(service: Supervised) -> bool:
    """The request sent before has been read: a later one, by the same single-threaded loop or another, was answered."""
    return len(answers_of_all(service, 2)) == 2


def test_a_request_that_does_not_end_is_cut_off(tmp_path):
    """A request that outlasts PAGEPOOL_SHUTDOWN_TIMEOUT does not hold up the end."""
    with Supervised(tmp_path, shutdown_timeout="0.5").wait_until_up() as service:
        connection = service.connect()
        connection.request("GET", "/slow?600")
        service.get()
        began = time.monotonic()
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert time.monotonic() - began < 15
        connection.close()


def test_a_worker_that_hangs_is_killed_at_shutdown(tmp_path):
    """A worker that heeds no signal is killed after the shutdown timeout."""
    with Supervised(tmp_path, shutdown_timeout="0.2").wait_until_up() as service:
        os.kill(service.pids("app.serve.worker")[0], signal.SIGSTOP)
        family = service.family()
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert not any(map(is_running, family))


def test_a_second_signal_ends_it_at_once(tmp_path):
    """The second SIGTERM drops requests in flight; Redis still ends in good order."""
    with Supervised(tmp_path, shutdown_timeout="600").wait_until_up() as service:
        family = service.family()
        connection = service.connect()
        connection.request("GET", "/slow?600")
        service.get()
        service.send(signal.SIGTERM)
        until(lambda: not _accepts(service), SECONDS, "the first signal was heeded")
        service.send(signal.SIGTERM)
        assert service.wait() == 1
        assert not any(map(is_running, family))
        connection.close()


def _accepts(service: Supervised) -> bool:
    host, _, port = service.address.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def test_ctrl_c_ends_it_in_good_order(tmp_path):
    """Ctrl-C in a terminal, SIGINT to the whole foreground group, is a clean end as well: no traceback."""
    with Supervised(tmp_path).wait_until_up() as service:
        family = service.family()
        os.killpg(service.process.pid, signal.SIGINT)
        assert service.wait() == 0
        assert not any(map(is_running, family))
        assert service.errors == ""


def test_everything_ends_with_a_killed_supervisor(tmp_path):
    """After kill -9 of the supervisor all processes end, the port is free, and a new service can start."""
    with Supervised(tmp_path, workers="2", port=str(free_port())).wait_until_up() as service:
        family = service.family()
        socket_path = Path(service.get()["context"]["redis_socket"])
        service.send(signal.SIGKILL)
        service.wait()
        until(lambda: not any(map(is_running, family)), SECONDS, "everything has ended")
        assert not socket_path.parent.exists()
        service.start()
        assert service.wait_until_up().get()["redis"] == "+PONG"


def test_a_busy_worker_ends_with_a_killed_supervisor(tmp_path):
    """A worker with a request in flight ends as well, in bounded time, once its supervisor was killed."""
    with Supervised(tmp_path, shutdown_timeout="600").wait_until_up() as service:
        family = service.family()
        connection = service.connect()
        connection.request("GET", "/slow?600")
        service.get()
        service.send(signal.SIGKILL)
        service.wait()
        until(lambda: not any(map(is_running, family)), SECONDS, "everything has ended")
        connection.close()
