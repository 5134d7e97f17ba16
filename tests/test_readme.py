"""The README's transcript runs as printed, and its tables are what the code has."""

from __future__ import annotations

import enum
import typing
from pathlib import Path

import pytest

from app import errors
from app.settings import Settings
from app.telemetry_cells import COUNTERS, POOL_COUNTERS, POOL_GAUGES
from tests.harness.service import Service
from tests.harness.transcript import README, run_transcript

SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def setting_row(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default.value if isinstance(field.default, enum.Enum) else field.default
    words = {None: "unset", True: "true", False: "false", (): "none"}
    shown = words[default] if isinstance(default, bool | tuple) or default is None else default
    bounds = [f"{sign} {getattr(data, key)}" for data in field.metadata for key, sign in SIGNS if hasattr(data, key)]
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        bounds.append(" ".join(f"`{member.value}`" for member in kind))
    if typing.get_origin(kind) is typing.Literal:
        bounds.append(" ".join(f"`{value}`" for value in typing.get_args(kind)))
    return f"| `PAGEPOOL_{name.upper()}` | {shown} | {', '.join(bounds)} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_settings(name):
    """The README names each setting with its unit, default and range."""
    assert setting_row(name) in README


def test_errors():
    """The README names every code that an answer can bear."""
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.PagepoolError)]
    abstract = {errors.PagepoolError, errors.BadRequest, errors.Refused}
    missing = {cls.code for cls in classes if cls not in abstract and f"`{cls.code}`" not in README}
    assert not missing


def test_metrics():
    """The README names every metric of the pool."""
    names = [series.name + "_total" for series in COUNTERS] + [name for name, _, _ in POOL_GAUGES]
    names += [name + "_total" for name, _, _ in POOL_COUNTERS]
    assert not [name for name in names if f"`{name}" not in README]


def test_transcript(service: Service, tmp_path: Path):
    """Each command of the README's transcript prints what stands below it."""
    run_transcript(str(service.client.base_url), tmp_path)
