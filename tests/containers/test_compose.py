"""`docker compose up`, as most will run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.containers.conftest import ROOT, Project
from tests.harness import pages
from tests.harness.redis_server import until
from tests.harness.transcript import run_transcript

OCTETS = {"Content-Type": "application/octet-stream"}
RESTART_SECONDS = 60.0
SECRETS = ["-f", "docker-compose.yml", "-f", "docker/tokens.yml", "-f", "docker/password.yml"]
pytestmark = pytest.mark.timeout(300)


def is_ready(base_url: str, client: Any = httpx) -> bool:
    """Whether the service says so; on the connection of a `client`, always by the same worker."""
    try:
        return client.get(f"{base_url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def loads_with_one_retry(client: httpx.Client, path: str) -> bool:
    """Whether a client that tries once more gets its pages: the first try may have met a service just killed."""
    for _ in range(2):
        try:
            if client.get(path).status_code == 200:
                return True
        except httpx.TransportError:
            continue
    return False


@pytest.fixture
def running(project: Project) -> str:
    """The default services are up; the service's address."""
    project.up()
    return f"http://127.0.0.1:{project.port}"


@pytest.fixture
def secured(project: Project) -> Iterator[str]:
    """The default services are up with every secret in a file; the service's address."""
    project.write_secrets()
    project.up(*SECRETS)
    yield f"http://127.0.0.1:{project.port}"
    project.compose(*SECRETS, "down")


@pytest.mark.parametrize("profile", ["observability", "cluster"])
@pytest.mark.usefixtures("engine")
def test_profiles(profile: str) -> None:
    """Every profile is a valid configuration, also with tokens asked for, and publishes on loopback only."""
    for files in ([], SECRETS):
        run = subprocess.run(
            ["docker", "compose", *files, "--profile", profile, "config"],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        published, loopback = run.stdout.count("published:"), run.stdout.count("host_ip: 127.0.0.1")
        assert published == loopback > 0


def test_the_readme(running: str, tmp_path: Path) -> None:
    """The README's transcript runs against the published port."""
    run_transcript(running, tmp_path)


@pytest.mark.usefixtures("running")
def test_the_container_is_confined(project: Project) -> None:
    """It runs as nobody in particular, on a root that it cannot write to, and nothing that installs is left in it."""
    assert project.compose("exec", "-T", "app", "id", "-u").strip() == "10001"
    assert project.inspect("app", ".HostConfig.ReadonlyRootfs") == "True"
    programs = project.compose("exec", "-T", "app", "ls", "/opt/pagepool/bin").split()
    assert "pagepool" in programs
    assert not {"pip", "pip3", "uv", "hatchling"} & {*programs}


def test_a_killed_service_comes_back(running: str, project: Project) -> None:
    """After kill -9 of its process the container is started again, with every page."""
    page = pages.compressible(1)
    assert httpx.put(f"{running}/v1/pages/1/1", content=page, headers=OCTETS).status_code == 204
    before = project.inspect("app", ".State.StartedAt")
    os.kill(int(project.inspect("app", ".State.Pid")), signal.SIGKILL)
    until(lambda: project.inspect("app", ".State.StartedAt") != before, RESTART_SECONDS, "it is started again")
    until(lambda: is_ready(running), RESTART_SECONDS, "it is ready again")
    assert httpx.get(f"{running}/v1/pages/1/1").content == page


def test_pages_survive_down_and_up(running: str, project: Project) -> None:
    """`down` ends the service in order, and what was stored is there after `up`."""
    page = pages.incompressible(1)
    assert httpx.put(f"{running}/v1/pages/1/2", content=page, headers=OCTETS).status_code == 204
    project.compose("stop", "app")
    assert project.inspect("app", ".State.ExitCode") == "0"
    project.compose("down")
    project.up()
    assert httpx.get(f"{running}/v1/pages/1/2").content == page


def test_a_restarted_redis(running: str, project: Project) -> None:
    """The service waits while Redis is away, and goes on by itself when it is back, with every page."""
    page = pages.compressible(3)
    assert httpx.put(f"{running}/v1/pages/1/3", content=page, headers=OCTETS).status_code == 204
    project.compose("stop", "redis")
    until(lambda: not is_ready(running), RESTART_SECONDS, "it says that Redis is away")
    project.compose("start", "redis")
    with httpx.Client() as client:  # another worker may be about to try
        until(lambda: is_ready(running, client), RESTART_SECONDS, "it is ready again")
        assert client.get(f"{running}/v1/pages/1/3").content == page


def test_secrets_by_file(secured: str, project: Project) -> None:
    """With tokens and Redis's password in files, strangers are refused at both doors; no secret is shown."""
    assert httpx.get(f"{secured}/v1/types").status_code == 401
    bearer = {"Authorization": f"Bearer {project.token}"}
    page = pages.compressible(4)
    assert httpx.put(f"{secured}/v1/pages/1/4", content=page, headers={**OCTETS, **bearer}).status_code == 204
    assert httpx.get(f"{secured}/v1/pages/1/4", headers=bearer).content == page
    assert "NOAUTH" in project.compose(*SECRETS, "exec", "-T", "redis", "redis-cli", "dbsize")
    shown = project.compose(*SECRETS, "exec", "-T", "redis", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline")
    for service in ("app", "redis"):
        shown += project.inspect(service, ".") + project.compose(*SECRETS, "logs", service)
    assert "redis-server" in shown
    assert project.token not in shown
    assert project.password not in shown


@pytest.mark.usefixtures("haproxy")
def test_the_cluster(project: Project) -> None:
    """Two replicas behind the balancer serve one pool on a Redis Cluster; one may die, all may go and come again."""
    base_url = f"http://127.0.0.1:{project.cluster_port}"
    project.up("--profile", "cluster")
    with httpx.Client(base_url=base_url, timeout=30) as client:
        for chunk in range(8):
            body = b"".join(pages.compressible(seed) for seed in range(64))
            assert client.put(f"/v1/pages/5/{chunk << 12}", content=body, headers=OCTETS).status_code == 204
        os.kill(int(project.inspect("app-1", ".State.Pid")), signal.SIGKILL)
        assert all(loads_with_one_retry(client, f"/v1/pages/5/{chunk << 12}?count=64") for chunk in range(8))
        until(lambda: project.inspect("app-1", ".State.Health.Status") == "healthy", RESTART_SECONDS, "it is back")
    project.compose("--profile", "cluster", "down")
    project.up("--profile", "cluster")
    assert httpx.get(f"{base_url}/v1/types/5").json()["stored_pages"] == 512
    audit = project.compose("--profile", "cluster", "exec", "-T", "app-2", "pagepool", "audit")
    assert "512" in audit


def test_hadolint() -> None:
    """The Dockerfiles are clean by hadolint's rules."""
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: there is none for this platform")
    files = ["docker/Dockerfile", "tests/containers/haproxy/Dockerfile"]
    run = subprocess.run([program, *files], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout
