"""A recount of a pool straight from Redis, by eyes of its own: it shares no code with the service but the envelope.

Every chunk is read whole; what its map says is compared with the blobs that are there, each blob is decoded, and all
counters and indexes of the stripes are compared with the sums (contract 3.3).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from struct import unpack

import redis

from app.errors import PageCorrupt
from app.page.codec import decode

KINDS = ("zero", "same", "compressed", "raw")
Sums = Counter[str]


@dataclass
class Recount:
    """What is stored, and what does not add up."""

    pages: dict[tuple[int, int], tuple[str, bytes]] = field(default_factory=dict)
    """Kind and blob (empty for zero) by type and offset."""
    corrupt: list[tuple[int, int]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    total: Sums = field(default_factory=Counter)

    def numbers(self) -> dict[str, int]:
        """The totals as GET /v1/pool names them."""
        total = self.total
        return {
            "stored_pages": total["pages"],
            "zero_pages": total["zero"],
            "same_filled_pages": total["same"],
            "incompressible_pages": total["raw"],
            "pool_bytes": total["bytes"],
        }


def recount(client: redis.Redis, namespace: str = "pagepool", page_size: int = 4096) -> Recount:
    """Count everything in one namespace; nothing may write meanwhile."""
    found = Recount()
    stripes: defaultdict[bytes, Sums] = defaultdict(Counter)
    types: defaultdict[tuple[bytes, int], Sums] = defaultdict(Counter)
    maps: defaultdict[tuple[bytes, int], dict[int, int]] = defaultdict(dict)
    prefix = namespace.encode()
    keys = sorted(client.scan_iter(match=prefix + b":*", count=1000))
    for key in keys:
        parts = re.fullmatch(re.escape(prefix) + rb":p:\{(\w+)\}:(\d+):(\d+)", key)
        if parts is None:
            continue
        tag, type_, chunk = parts[1], int(parts[2]), int(parts[3])
        sums = _chunk(found, client.hgetall(key), type_, chunk, page_size)
        stripes[tag].update(sums)
        types[tag, type_].update(sums)
        run, place = divmod(chunk, 64)
        maps[tag, type_][run] = maps[tag, type_].get(run, 0) | 1 << place
    for sums in stripes.values():
        found.total.update(sums)
    expected = _expected(prefix, stripes, types, maps)
    _compare(found, client, prefix, keys, expected)
    return found


def _chunk(found: Recount, fields: dict[bytes, bytes], type_: int, chunk: int, page_size: int) -> Sums:
    where = f"chunk {type_}/{chunk}"
    complain = found.differences.append
    m = fields.pop(b"m", b"")
    times = fields.pop(b"g", bytes(8))
    if len(times) % 8 or not 8 <= len(times) <= 8 + 64 * 8:
        complain(f"{where}: times of {len(times)} bytes")
    if len(m) == 12:
        present = zero = int.from_bytes(m[4:], "little")
        same = raw = held = 0
    elif len(m) == 40:
        present, zero, same, raw, held = unpack("<4QI", m[4:])
    else:
        complain(f"{where}: a map of {len(m)} bytes")
        return Counter()
    if not present:
        complain(f"{where}: empty, and not removed")
    if len(m) == 40 and present == zero:
        complain(f"{where}: a long map for zero pages alone")
    rests = {int(name[:-1]): fields.pop(name) for name in list(fields) if name.endswith(b"r")}
    blobs = {int(name): blob + rests.get(int(name), b"") for name, blob in fields.items()}
    mapped = {index for index in range(64) if (present & ~zero) >> index & 1}
    if {index for index in range(64) if raw >> index & 1} != set(rests):
        complain(f"{where}: not all raw pages, and no others, have their rests")
    if mapped != set(blobs):
        complain(f"{where}: the map has blobs at {sorted(mapped)}, there are {sorted(blobs)}")
    if (length := sum(map(len, blobs.values()))) != held:
        complain(f"{where}: the map says {held} bytes, there are {length}")
    sums: Sums = Counter(bytes=length)
    for index in range(64):
        if not present >> index & 1:
            continue
        offset = chunk * 64 + index
        kind = "compressed"
        for name, bits in (("zero", zero), ("same", same), ("raw", raw)):
            if bits >> index & 1:
                kind = name
        blob = blobs.get(index, b"")
        found.pages[type_, offset] = kind, blob
        sums.update({"pages": 1, kind: 1})
        if kind != "zero":
            _decode(found, blob, page_size, type_, offset, kind)
    return sums


def _decode(found: Recount, blob: bytes, page_size: int, type_: int, offset: int, kind: str) -> None:
    try:
        decoded = decode(blob, page_size, type_, offset)[2]
    except PageCorrupt:
        found.corrupt.append((type_, offset))
        return
    if KINDS[decoded] != kind:
        found.differences.append(f"page {type_}/{offset}: the map says {kind}, the blob {KINDS[decoded]}")


def _expected(
    prefix: bytes,
    stripes: dict[bytes, Sums],
    types: dict[tuple[bytes, int], Sums],
    maps: dict[tuple[bytes, int], dict[int, int]],
) -> dict[bytes, dict[bytes, object]]:
    """The hashes and sorted sets, beside the chunks, that a pool with these pages has."""
    expected: defaultdict[bytes, dict[bytes, object]] = defaultdict(dict)
    for tag, sums in stripes.items():
        expected[prefix + b":s:{%b}" % tag][b"n"] = _counters(sums)
    for (tag, type_), sums in types.items():
        name = b"%d" % type_
        expected[prefix + b":s:{%b}" % tag][b"t" + name] = _counters(sums)
        expected[prefix + b":y:{%b}" % tag][name] = float(type_)
        for run, bits in maps[tag, type_].items():
            expected[prefix + b":r:{%b}:%b" % (tag, name)][b"%d" % run] = bits
            expected[prefix + b":c:{%b}:%b" % (tag, name)][b"%d" % run] = float(run)
    return expected


def _counters(sums: Sums) -> tuple[int, ...]:
    return tuple(sums[name] for name in ("pages", "zero", "same", "raw", "bytes"))


def _compare(
    found: Recount, client: redis.Redis, prefix: bytes, keys: list[bytes], expected: dict[bytes, dict[bytes, object]]
) -> None:
    nothing = (0, 0, 0, 0, 0)
    for key in sorted({*keys, *expected}):
        area = key[len(prefix) : len(prefix) + 3]
        have: dict[bytes, object] = {}
        if area == b":s:":
            fields = client.hgetall(key)
            have = {name: tuple(map(int, unpack("<5d", fields[name]))) for name in fields if name[:1] in {b"n", b"t"}}
            if have.get(b"n") == nothing:
                del have[b"n"]
        elif area == b":r:":
            have = {name: int.from_bytes(bits, "little") for name, bits in client.hgetall(key).items()}
        elif area in {b":y:", b":c:"}:
            have = dict(client.zrange(key, 0, -1, withscores=True))
        else:
            continue
        if have != expected.get(key, {}):
            found.differences.append(f"{key.decode()}: {have}, counted {expected.get(key, {})}")
