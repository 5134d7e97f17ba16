"""A compose project of the tests' own, where a Docker engine answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.redis_server import free_port

ROOT = Path(__file__).resolve().parents[2]
HAPROXY = "haproxy:3.2"
UP_SECONDS = 180


class Project:
    """`docker compose` on this checkout, with ports, a network and a project name that nobody else has."""

    password = 'p@ss"w\\rd of a test'

    def __init__(self, name: str, secrets: Path) -> None:
        self.token = ""
        self._tokens_file = secrets / "tokens.toml"
        self._password_file = secrets / "redis-password"
        self.port = free_port()
        self.cluster_port = free_port()
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": name,
            "PAGEPOOL_PORT": str(self.port),
            "PAGEPOOL_CLUSTER_PORT": str(self.cluster_port),
            "PAGEPOOL_CLUSTER_NET": f"172.31.{os.getpid() % 250 + 1}",
            "PAGEPOOL_TOKENS_FILE": str(self._tokens_file),
            "PAGEPOOL_REDIS_PASSWORD_FILE": str(self._password_file),
        }

    def compose(self, *arguments: str) -> str:
        """Run a command to its end; what it printed."""
        run = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        assert run.returncode == 0, f"{arguments}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def up(self, *options: str) -> None:
        """Bring it up, and wait until all of it is healthy."""
        self.compose(*options, "up", "--detach", "--wait", "--no-build", "--pull", "never")

    def write_secrets(self) -> None:
        """The files that docker/tokens.yml and docker/password.yml ask for, made as the guide says."""
        made = self.compose("run", "--rm", "--no-deps", "-T", "app", "token", "new", "--name", "ops", "--role", "admin")
        self.token = made.splitlines()[1].removeprefix("# ")
        table = made[made.index("[[tokens]]") :]
        for file, text in ((self._tokens_file, table), (self._password_file, self.password + "\n")):
            file.write_text(text, encoding="utf-8")
            file.chmod(0o644)

    def inspect(self, service: str, place: str) -> str:
        """A field of a service's container, as `docker inspect` spells it."""
        [container] = self.compose("ps", "--all", "--quiet", service).split()
        command = ["docker", "inspect", "--format", "{{json " + place + "}}", container]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return str(json.loads(shown))


def _engine_problem() -> str | None:
    if shutil.which("docker") is None:
        return "there is no docker here"
    try:
        run = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return None if run.returncode == 0 else "no Docker engine answers here"


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine."""
    if problem := _engine_problem():
        pytest.skip(problem)


@pytest.fixture(scope="package")
def project(engine: None) -> Iterator[Project]:  # noqa: ARG001  it is only to be there
    """The image is built, nothing runs yet; at the end nothing is left."""
    within = ROOT / ".pytest_cache"  # an engine may see nothing of this machine but the checkout
    within.mkdir(exist_ok=True)
    secrets = Path(tempfile.mkdtemp(prefix="secrets-", dir=within))
    project = Project(f"pagepool-test-{os.getpid()}", secrets)
    files = ["-f", "docker-compose.yml"]
    if override := os.environ.get("BUILD_NET"):
        files += ["-f", override]  # an engine whose containers have no way out (shared/containers/engine.sh)
    project.compose(*files, "build", "--quiet", "app")
    try:
        yield project
    finally:
        project.compose("--profile", "cluster", "down", "--volumes", "--timeout", "5")
        shutil.rmtree(secrets)


@pytest.fixture(scope="session")
def haproxy(engine: None) -> None:  # noqa: ARG001  it is only to be there
    """The balancer's image: the published one, or Debian's program in its place."""
    present = subprocess.run(["docker", "image", "inspect", HAPROXY], capture_output=True, check=False)
    if present.returncode == 0:
        return
    subprocess.run(
        ["docker", "build", "--quiet", "--network", "host", "--tag", HAPROXY, str(Path(__file__).parent / "haproxy")],
        capture_output=True,
        timeout=UP_SECONDS,
        check=True,
    )
