"""The description is clean by its linter's rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openapi import lint
from openapi.tools import DOCUMENT, NotHere


@pytest.mark.timeout(300)  # the first run installs the linter
def test_the_linter_finds_nothing() -> None:
    """Redocly's strict rules, none of them ignored."""
    try:
        lint.lint()
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(300)
def test_the_linter_is_awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description with a flaw has a finding."""
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    del document["paths"]["/livez"]["get"]["operationId"]
    flawed = tmp_path / "openapi.json"
    flawed.write_text(json.dumps(document))
    monkeypatch.setattr(lint, "DOCUMENT", flawed)
    try:
        with pytest.raises(RuntimeError, match="operation-operationId"):
            lint.lint()
    except NotHere as reason:
        pytest.skip(str(reason))
