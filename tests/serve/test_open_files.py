"""The limit on open files: as many connections as are promised, or as many as there can be, and a word about it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.serve.open_files import RESERVED
from tests.harness.problems import check_problem
from tests.harness.raw_http import request
from tests.harness.service import PAGEPOOL, Service

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
os.execv(sys.argv[1], sys.argv[1:])
"""
ASKED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from app.serve.open_files import with_room_for_connections
from app.settings import Settings
settings = with_room_for_connections(Settings(_env_file=None, max_connections={wanted}))
print(settings.max_connections, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def served_with(soft: int, hard: int) -> list[str]:
    """A command that serves under these limits."""
    return [sys.executable, "-c", LIMITED.format(soft=soft, hard=hard), str(PAGEPOOL), "serve"]


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections", "soft_then"),
    [
        pytest.param(500, 2000, 100, 100, 500, id="enough as it is"),
        pytest.param(500, 2000, 1000, 1000, 1000 + RESERVED, id="raised to what is needed"),
        pytest.param(500, 2000, 10_000, 2000 - RESERVED, 2000, id="raised to the hard limit, and fewer"),
        pytest.param(100, 100, 10_000, 50, 100, id="hardly any"),
    ],
)
def test_limits(soft: int, hard: int, wanted: int, connections: int, soft_then: int) -> None:
    """The soft limit becomes what the connections need, the hard one stays; where that is too low they are fewer."""
    code = ASKED.format(soft=soft, hard=hard, wanted=wanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(connections), str(soft_then), str(hard)]


def test_a_soft_limit_that_is_too_low(start_service: Callable[..., Service]) -> None:
    """Is raised for the workers: more connections are served than it would have let in."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    service = start_service(served_with(64, hard), max_connections="200")
    assert "PAGEPOOL_MAX_CONNECTIONS" not in service.log_text()
    with ExitStack() as stack:
        for _ in range(150):
            raw = stack.enter_context(service.raw())
            raw.send(request("GET", "/v1/pages/1/1"))
            assert raw.read().status == 404


def test_a_hard_limit_that_is_too_low(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """Is said in the log, and a connection past what it allows is told `overloaded`, not left without an answer."""
    service = start_service(served_with(90, 90), max_connections="10000", data_dir=str(tmp_path / "data"))
    [line] = [json.loads(line) for line in service.log_text().splitlines() if "PAGEPOOL_MAX_CONNECTIONS" in line]
    assert line["level"] == "warning"
    assert "only 90 files may be open: it is 45 now" in line["message"]
    service.client.close()
    with ExitStack() as stack:
        for _ in range(45):
            raw = stack.enter_context(service.raw())
            raw.send(request("GET", "/v1/pages/1/1"))
            assert raw.read().status in {404, 503}
        with service.raw() as one_more:
            check_problem(one_more.read(), 503, "overloaded")
            assert one_more.is_closed()
