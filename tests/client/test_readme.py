from __future__ import annotations

import re
from pathlib import Path

import pytest
from pagepool_client import Client

README = Path(__file__).parents[2] / "client" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    """The README shows at least the sync and the async client, files and errors."""
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(
    example: str, pool: Client, pool_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixed_pages: bytes
) -> None:
    """Every example of the client's README runs as printed, beside an open client named `pool`."""
    monkeypatch.chdir(tmp_path)
    Path("snapshot.bin").write_bytes(mixed_pages)
    pool.delete_type(2)
    pool.store(1, 42, b"\x80" * 4096)
    exec(example.replace("http://127.0.0.1:8000", pool_url), {"pool": pool})
    if "copy.bin" in example:
        assert Path("copy.bin").read_bytes() == mixed_pages
    pool.delete_type(1)
    pool.delete_type(2)
