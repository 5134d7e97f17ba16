"""Pages of every kind, the near-misses between kinds, and real ones.

`kind_of` is the contract's table of kinds written down a second time, so that the service is not its own judge.
"""

from __future__ import annotations

import random
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import lz4.block
import xxhash

PAGE_SIZE = 4096
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KINDS = ("zero", "same", "compressed", "raw")


def zero(page_size: int = PAGE_SIZE) -> bytes:
    """A page of zero bytes."""
    return bytes(page_size)


def same(word: bytes = b"\x01\x02\x03\x04\x05\x06\x07\x08", page_size: int = PAGE_SIZE) -> bytes:
    """A page of one repeated 8-byte word."""
    return word * (page_size // 8)


def compressible(seed: int = 0, page_size: int = PAGE_SIZE) -> bytes:
    """A page that LZ4 shrinks well; another one for each seed."""
    half = random.Random(seed).randbytes(page_size // 16)
    text = b"".join(f"{seed} is compressible, line {line}; ".encode() for line in range(page_size // 16))
    return (half + text)[:page_size]


def incompressible(seed: int = 0, page_size: int = PAGE_SIZE) -> bytes:
    """A page that no compressor shrinks; another one for each seed."""
    return random.Random(seed ^ 0x5EED).randbytes(page_size)


def every_byte_value(page_size: int = PAGE_SIZE) -> bytes:
    """A page that holds each of the 256 byte values, bytes that are no UTF-8 among them."""
    return bytes(range(256)) * (page_size // 256)


SAME_WORDS = {
    **{f"byte {index} alone": bytes(index) + b"\xa5" + bytes(7 - index) for index in range(8)},
    "all ones": b"\xff" * 8,
    "text": b"xxxxyyyy",
    "high bytes": b"\x80\x81\xfe\xff\x80\x81\xfe\xff",
}

NEAR_MISSES = {
    "zero but its last byte": bytes(PAGE_SIZE - 1) + b"\x01",
    "zero but its first byte": b"\x01" + bytes(PAGE_SIZE - 1),
    "zero but one bit in the middle": bytes(PAGE_SIZE // 2) + b"\x80" + bytes(PAGE_SIZE // 2 - 1),
    "same but its last word": same()[:-8] + b"\x08\x07\x06\x05\x04\x03\x02\x01",
    "same but its first word": b"\x08\x07\x06\x05\x04\x03\x02\x01" + same()[8:],
    "same but its last byte": same()[:-1] + b"\x00",
    "same but a word in the middle": same()[: PAGE_SIZE // 2] + bytes(8) + same()[PAGE_SIZE // 2 + 8 :],
    "a word of 16 bytes repeated": same(b"\x01" * 8 + b"\x02" * 8, PAGE_SIZE * 2)[:PAGE_SIZE],
    "equal ends, other middle": same()[:8] * 2 + incompressible(3)[16:-8] + same()[:8],
}


def of_each_kind(page_size: int = PAGE_SIZE) -> dict[str, bytes]:
    """One page of each kind, under lz4."""
    return {
        "zero": zero(page_size),
        "same": same(page_size=page_size),
        "compressed": compressible(page_size=page_size),
        "raw": incompressible(page_size=page_size),
    }


def mixed(count: int, seed: int = 0, page_size: int = PAGE_SIZE) -> list[bytes]:
    """`count` pages of all kinds, in no order but always the same."""
    chance = random.Random(seed)
    makers = (
        lambda _: zero(page_size),
        lambda n: same((n + 1).to_bytes(8, "little"), page_size),
        lambda n: compressible(n, page_size),
        lambda n: incompressible(n, page_size),
    )
    return [chance.choice(makers)(seed * 100_003 + n) for n in range(count)]


@cache
def real(count: int = 1024, page_size: int = PAGE_SIZE) -> tuple[bytes, ...]:
    """Real pages: out of the shared snapshot where it is at hand, else out of this process."""
    snapshot = SHARED_DATA / "snapshot-a.bin"
    length = count * page_size
    if snapshot.exists():
        with snapshot.open("rb") as file:
            body = file.read(length)
    else:
        body = _own_memory(length)
    return tuple(body[at : at + page_size] for at in range(0, len(body) - page_size + 1, page_size))


def _own_memory(length: int) -> bytes:
    """Bytes of this process's heap, or of its program file where memory cannot be read."""
    try:
        with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb") as memory:
            body = b""
            for line in maps:
                bounds, permissions = line.split()[:2]
                if permissions.startswith("rw") and len(body) < length and "[v" not in line:
                    start, end = (int(bound, 16) for bound in bounds.split("-"))
                    memory.seek(start)
                    body += memory.read(min(end - start, length - len(body)))
            return body
    except OSError:
        return Path(sys.executable).resolve().read_bytes()[:length]


def kind_of(page: bytes) -> str:
    """The kind that a page has under lz4, by the contract's words."""
    if not any(page):
        return "zero"
    if page == page[:8] * (len(page) // 8):
        return "same"
    return "compressed" if len(lz4.block.compress(page, store_size=False)) < len(page) else "raw"


def counts_of(pages: list[bytes] | tuple[bytes, ...]) -> dict[str, int]:
    """Pages of each kind."""
    kinds = [kind_of(page) for page in pages]
    return {kind: kinds.count(kind) for kind in KINDS}


def counts_header(pages: list[bytes] | tuple[bytes, ...]) -> str:
    """What `Page-Counts` says of a store of these pages."""
    return ", ".join(f"{kind}={count}" for kind, count in counts_of(pages).items())


def etag(page: bytes) -> str:
    """The entity tag of a page: XXH3-64, 16 hex digits, strong."""
    return f'"{xxhash.xxh3_64_hexdigest(page)}"'


def split(body: bytes, page_size: int = PAGE_SIZE) -> list[bytes]:
    """The pages of a body."""
    return [body[at : at + page_size] for at in range(0, len(body), page_size)]


def runs(numbers: list[int] | set[int]) -> list[list[int]]:
    """Sorted numbers as [start, count] runs."""
    grouped = groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    found = [[number for _, number in group] for _, group in grouped]
    return [[run[0], len(run)] for run in found]
