"""The README's transcript, run against any service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def run_transcript(base_url: str, folder: Path) -> None:
    """Run each command in `folder`, with `base_url` for the README's address; it must print what stands below it."""
    [block] = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    (folder / "README.md").write_text(README, encoding="utf-8")
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        if "/metrics" in command:
            continue  # the pool of the tests holds other pages too
        command = command.replace("http://127.0.0.1:8000", base_url.rstrip("/"))
        run = subprocess.run(
            ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=30, check=False
        )
        pattern = re.escape(expected.strip()).replace("…", "[^\n]+?")
        assert re.fullmatch(pattern, run.stdout.replace("\r", "").strip()), (command, run.stdout, run.stderr)
