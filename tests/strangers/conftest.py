"""A service that asks for tokens, through each of its doors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.service import Service

DOORS = ("protocol", "asgi")
OWN_TYPE, OTHER_TYPE = 5, 6
TOKENS: dict[str, tuple[str, list[int | str] | None]] = {
    "read": ("read", None),
    "write": ("write", None),
    "admin": ("admin", None),
    "restricted": ("admin", [OWN_TYPE, "900-910"]),
}
"""Role and types by name."""


def secret(name: str) -> str:
    """The token of this name."""
    return f"the-{name}-token-of-many-letters"


def bearer(name: str) -> dict[str, str]:
    """The header that presents it; none for "no token"."""
    return {"Authorization": f"Bearer {secret(name)}"} if name in TOKENS else {}


@pytest.fixture(scope="package")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all of them."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    entries: list[dict[str, Any]] = [
        {"name": name, "sha256": hashlib.sha256(secret(name).encode()).hexdigest(), "role": role}
        | ({} if types is None else {"types": types})
        for name, (role, types) in TOKENS.items()
    ]
    path.write_text(json.dumps({"tokens": entries}))
    return path


@pytest.fixture(scope="package", params=DOORS)
def guarded(request: pytest.FixtureRequest, tokens_file: Path) -> Iterator[Service]:
    """A service that asks for tokens."""
    with Service(door=request.param, tokens_file=str(tokens_file), max_pool_bytes="0", access_log="true") as service:
        yield service


@pytest.fixture(scope="package", params=DOORS)
def open_service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that asks nobody, with limits that a test can wait for."""
    limits = {"header_timeout": "1.0", "progress_timeout": "1.0", "keep_alive_timeout": "3.0"}
    with Service(door=request.param, max_pool_bytes="0", max_header_bytes="4096", **limits) as service:
        yield service
