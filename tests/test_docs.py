"""The documentation: links lead somewhere, examples run as printed, the reference is what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.harness.service import PAGEPOOL, ROOT, Service

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "client" / "README.md", *DOCS]
RUNNABLE = [page for page in DOCS if "```sh runnable\n" in page.read_text(encoding="utf-8")]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")
ADDRESS = "http://127.0.0.1:8000"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of this repository, and every fragment a heading in it."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in (first or second for first, second in LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith(("https://", "http://127.0.0.1", "http://localhost")), target
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        is_missing = not file.exists() or not file.is_relative_to(ROOT)
        if is_missing or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_is_found_from_the_index() -> None:
    """A page that the index does not name would not be read."""
    index = ROOT / "docs" / "index.md"
    targets = {first or second for first, second in LINK.findall(index.read_text(encoding="utf-8"))}
    named = {(index.parent / target.partition("#")[0]).resolve() for target in targets}
    assert not [name_of(page) for page in DOCS if page not in named and page != index]


def test_the_reference_is_what_the_code_has() -> None:
    """`python docs/generate.py` was run after the last change of the API, the settings, the metrics or a command."""
    command = [sys.executable, "docs/generate.py", "--check"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """The service that the examples speak to."""
    with Service(max_pool_bytes="0") as service:
        yield service


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_examples_run(page: Path, running: Service, tmp_path: Path) -> None:
    """The blocks of a page that are marked `sh runnable` run one after another, and each line of them succeeds."""
    blocks = re.findall(r"^```sh runnable\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = "\n".join(["set -euo pipefail", *blocks]).replace(ADDRESS, running.origin)
    own = {"PATH": f"{PAGEPOOL.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**own, "PAGEPOOL_URL": running.origin},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
