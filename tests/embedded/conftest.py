from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.embedded import EmbeddedRedis
from app.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_settings(home: Path) -> Callable[..., Settings]:
    return lambda **values: Settings(_env_file=None, **{"data_dir": home, **values})


@pytest.fixture
def start(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., EmbeddedRedis]]:
    """Starts an embedded Redis with these settings; it is ended with the test, if the test has not done so."""
    with ExitStack() as stack:

        def start(terminate_seconds: float = 10.0, **values: object) -> EmbeddedRedis:
            embedded = EmbeddedRedis(make_settings(**values), terminate_seconds).start()
            stack.callback(lambda: embedded.is_stopped or embedded.stop())
            return embedded

        yield start
