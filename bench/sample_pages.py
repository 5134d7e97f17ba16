"""Real pages to measure with: ../shared/data from the repository's root, else this process's own memory."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import lz4.block

PAGE_SIZE = 4096
ZERO_PAGE = bytes(PAGE_SIZE)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_OWN_MEMORY_BYTES = 32 << 20


@cache
def files() -> dict[str, bytes]:
    """Each sample's name and bytes, a whole number of pages each."""
    found = {path.name: path.read_bytes() for path in sorted(DATA.glob("*.bin"))}
    return found or {"own-memory": _own_memory()}


def _own_memory() -> bytes:
    """Readable private memory of this process, read from /proc/self/mem; other pages where there is no such file."""
    parts: list[bytes] = []
    held = 0
    try:
        with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", buffering=0) as memory:
            for line in maps:
                match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                if not match or "[v" in line:
                    continue
                start, end = (int(text, 16) for text in match.groups())
                memory.seek(start)
                parts.append(memory.read(min(end - start, _OWN_MEMORY_BYTES - held)))
                held += len(parts[-1])
                if held >= _OWN_MEMORY_BYTES:
                    break
    except OSError:
        source = b"".join(path.read_bytes() for path in sorted(Path(re.__file__).parents[1].glob("*.py")))
        parts.append(source)
    joined = b"".join(parts)
    return joined[: len(joined) // PAGE_SIZE * PAGE_SIZE]


def split(data: bytes) -> list[bytes]:
    """The pages of an image."""
    return [data[start : start + PAGE_SIZE] for start in range(0, len(data), PAGE_SIZE)]


@cache
def snapshot() -> bytes:
    """The memory snapshots one after the other: what extents and images are made of."""
    return b"".join(data for name, data in files().items() if name.startswith(("snapshot", "own")))


def compressible(count: int) -> list[bytes]:
    """`count` pages, neither zero nor same-filled, that LZ4 makes shorter; evenly spread over the snapshots."""
    fit = [
        page
        for page in split(snapshot())
        if page[8:] != page[:-8] and len(lz4.block.compress(page, store_size=False)) < PAGE_SIZE
    ]
    return [fit[index * len(fit) // count] for index in range(count)]


def extents(pages_each: int) -> list[bytes]:
    """The snapshots cut into extents, as they come: zero and same-filled pages included."""
    size = pages_each * PAGE_SIZE
    data = snapshot()
    return [data[start : start + size] for start in range(0, len(data) - size + 1, size)]
