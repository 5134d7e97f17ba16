"""A new user's first call in each language is short, stands in the README, and works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.service import ROOT, Service
from tests.openapi.conftest import Program, run

FOLDER = ROOT / "examples" / "first_call"
FILES = {"python": "sdk.py", "typescript": "sdk.ts", "java": "FirstCall.java", "client": "client.py", "curl": "curl.sh"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.timeout(300)  # the first run installs the generators
@pytest.mark.parametrize("language", FILES)
def test_it_works(language: str, service: Service, prepare: Callable[[str, Path], Program], tmp_path: Path) -> None:
    """It stores a page and loads it again."""
    text = (FOLDER / FILES[language]).read_text(encoding="utf-8")
    source = tmp_path / FILES[language]
    source.write_text(text.replace("http://127.0.0.1:8000", service.origin))
    if language == "client":
        printed = run(sys.executable, source, cwd=tmp_path)
    elif language == "curl":
        printed = run("bash", source, cwd=tmp_path)
    else:
        printed = prepare(language, source)()
    assert printed.strip() == "4096"
    assert service.client.delete("/v1/types/1").status_code == 204


@pytest.mark.parametrize("language", FILES)
def test_it_is_short_and_in_the_readme(language: str) -> None:
    """Under ten lines, and the README has them to the letter."""
    text = (FOLDER / FILES[language]).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 10
    if "\n## Clients\n" not in README:
        pytest.skip("the README has no section 'Clients' yet")
    assert text in README
