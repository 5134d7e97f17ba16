"""One way in, one way out: HTTP → api → pool → page, store → Redis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[1] / "app"

COMMON = {"errors", "machine", "settings", "tasks"}
BELOW = {
    "page": COMMON,
    "store": COMMON | {"page"},
    "pool": COMMON | {"page", "store", "telemetry", "telemetry_cells"},
    "embedded": COMMON,
}
"""What a part may import of the others; the api, the doors and the commands stand above all these."""

ONLY = {
    "fastapi": {"api", "main"},
    "starlette": {"api"},
    "redis": {"store"},
    "uvicorn": {"serve"},
    "httptools": {"serve"},
    "click": {"cli"},
}
"""Libraries that belong to some parts alone."""


def imports(part: str) -> Iterator[tuple[str, str]]:
    """(file, module) of all that a part imports, within functions too."""
    root = APP / part
    for path in root.rglob("*.py") if root.is_dir() else [root.with_suffix(".py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path.name, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                # Of `from app import …` the names count: modules, or what the package itself has.
                names = [f"app.{name.name}" for name in node.names] if node.module == "app" else [str(node.module)]
                yield from ((path.name, name) for name in names)


def parts() -> list[str]:
    """Packages and modules of app."""
    return sorted({path.stem for path in APP.glob("*.py")} | {path.parent.name for path in APP.glob("*/__init__.py")})


@pytest.mark.parametrize("part", BELOW)
def test_nothing_is_imported_from_above(part: str) -> None:
    """Each part knows those below it, and no other."""
    ours = [(file, module) for file, module in imports(part) if module.startswith("app.")]
    assert ours
    allowed = BELOW[part] | {part}
    assert not [(file, module) for file, module in ours if module.split(".")[1] not in allowed]


@pytest.mark.parametrize("library", ONLY)
def test_libraries_stay_where_they_belong(library: str) -> None:
    """Only the api speaks FastAPI, only the store Redis."""
    users = {part for part in parts() if any(module.split(".")[0] == library for _, module in imports(part))}
    assert users <= ONLY[library]
    assert users, "nobody uses it"
