"""The command line as a person runs it: a process of its own, against a service over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import mixed_pages
from tests.client.fake_service import FakeService

__all__ = ["mixed_pages"]

ROOT = Path(__file__).parents[2]

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def _service() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def fake(_service: FakeService) -> FakeService:
    """The service that the commands speak to."""
    _service.reset()
    return _service


@pytest.fixture
def pagepool(tmp_path: Path, fake: FakeService) -> Run:
    """Runs `pagepool …` in an empty directory."""

    def run(
        *arguments: object, stdin: bytes = b"", stdout: int = subprocess.PIPE, text: bool = True, **settings: str
    ) -> Any:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PAGEPOOL_")}
        environment = clean | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
            "PAGEPOOL_URL": fake.url,
            "COLUMNS": "100",
            "LINES": "40",
            **settings,
        }
        ended = subprocess.run(
            [sys.executable, "-m", "app.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={name: value for name, value in environment.items() if value},
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        ended.stderr = ended.stderr.decode()
        if text and ended.stdout is not None:
            ended.stdout = ended.stdout.decode()
        return ended

    return run
