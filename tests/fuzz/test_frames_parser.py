"""No input crashes the frame parser, none makes it allocate more than an extent's worth, none is half stored."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.page.codec import decode_extent
from tests.fuzz.parser_rules import EXTENT_BYTES, MAX_PAGES, OFFSET, PAGE_SIZE, TYPE, parse_or_refuse
from tests.harness import frames, pages

# Beside the pages: columns, objects for each page and frame, the error and its traceback.
SLACK_BYTES = 32 * 1024

U16, U32, U64 = st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
near_offsets = st.integers(OFFSET - 1, OFFSET + MAX_PAGES)
near_counts = st.integers(0, MAX_PAGES + 1)
a_page = st.one_of(
    st.just(pages.zero()),
    st.sampled_from([pages.same(word) for word in pages.SAME_WORDS.values()]),
    st.builds(pages.compressible, st.integers(0, 50)),
    st.builds(pages.incompressible, st.integers(0, 50)),
)
loose_frames = st.builds(
    frames.frame,
    near_offsets | U64,
    near_counts | U32,
    st.sampled_from([0, 1, 2, 3, 4, 5, 255]) | st.integers(0, 255),
    st.binary(max_size=64) | st.builds(frames.block, a_page) | a_page,
    st.sampled_from([bytes(3)] * 7 + [b"\x01\x00\x00"]),
)


@st.composite
def valid_bodies(draw: st.DrawFn) -> tuple[dict[int, bytes], bytes]:
    """Pages by offset, and a body that stores exactly them: frames of all kinds, in any order."""
    expected: dict[int, bytes] = {}
    parts: list[bytes] = []
    offset = OFFSET + draw(st.integers(0, 2))
    while offset < OFFSET + MAX_PAGES and len(parts) < 5:
        count = draw(st.integers(1, OFFSET + MAX_PAGES - offset))
        form = draw(st.sampled_from(["data", "zero", "same", "lz4"]))
        if form == "zero":
            run = [pages.zero()] * count
            parts.append(frames.zero(offset, count))
        elif form == "same":
            word = draw(st.binary(min_size=8, max_size=8))
            run = [pages.same(word)] * count
            parts.append(frames.same(offset, count, word))
        else:
            run = draw(st.lists(a_page, min_size=1, max_size=count))
            if form == "lz4":
                run = [page if pages.kind_of(page) != "raw" else pages.compressible(1) for page in run]
            parts.append((frames.data if form == "data" else frames.lz4_frame)(offset, *run))
        expected.update(enumerate(run, offset))
        offset += len(run) + draw(st.integers(0, 2))
    draw(st.randoms(use_true_random=False)).shuffle(parts)
    return expected, b"".join(parts)


@given(body=st.binary(max_size=200))
@example(body=b"")
@example(body=b"\x00" * 16)
@example(body=b"\xff" * 16)
def test_noise_is_refused(body: bytes) -> None:
    """Bytes at random end in BadFrame or in pages that can be stored, in no other exception."""
    parse_or_refuse(body)


@given(parts=st.lists(loose_frames, max_size=6), cut=st.integers(0, 40))
def test_frames_at_random_are_refused_or_stored(parts: list[bytes], cut: int) -> None:
    """So do well-formed headers with any numbers in them, before any payload, cut anywhere."""
    body = b"".join(parts)
    parse_or_refuse(body[: len(body) - cut])


@given(case=valid_bodies())
def test_valid_bodies_store_exactly_their_pages(case: tuple[dict[int, bytes], bytes]) -> None:
    """A body of good frames stores the pages they describe, each at its offset, and no other."""
    expected, body = case
    stored = parse_or_refuse(body)
    assert stored is not None
    assert list(stored.offsets) == sorted(expected)
    for offset, blob in zip(stored.offsets, stored.blobs, strict=True):
        assert decode_extent([blob], PAGE_SIZE, TYPE, offset).pages == [expected[offset]]


@given(case=valid_bodies(), data=st.data())
def test_mutated_bodies_are_refused_or_stored_whole(case: tuple[dict[int, bytes], bytes], data: st.DataObject) -> None:
    """A good body with bytes changed, cut out, repeated or put in ends in BadFrame or in pages that can be stored."""
    _, body = case
    mutant = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(mutant) - 1, 0)))
        match data.draw(st.sampled_from(["flip", "cut out", "repeat", "insert", "end"])):
            case "flip" if mutant:
                mutant[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut out":
                del mutant[at : at + data.draw(st.integers(1, 20))]
            case "repeat":
                mutant[at:at] = mutant[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                mutant[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            case _:
                del mutant[at:]
    parse_or_refuse(mutant)


def greedy_bodies() -> dict[str, bytes]:
    """Bodies that would have a careless parser allocate without bound, and the largest that may be stored."""
    most = (1 << 32) - 1
    chance = random.Random(2)
    bomb = frames.block(bytes(1 << 20))[:4096]
    return {
        **{f"kind {kind} of 2^32-1 pages": frames.frame(OFFSET, most, kind, b"\x01" * 8) for kind in (0, 1, 2, 4)},
        **{f"kind {kind} of 2^32-1 pages at 0": frames.frame(0, most, kind, b"\x01" * 8) for kind in (0, 1, 2, 4)},
        "2^31 pages, then cut": frames.frame(OFFSET, 1 << 31, 1)[:-1],
        "a zero frame a thousand times": frames.zero(OFFSET, MAX_PAGES) * 1000,
        "ten thousand headers": b"".join(frames.zero(OFFSET + chance.randrange(MAX_PAGES)) for _ in range(10_000)),
        "a block of a megabyte of zeros": frames.frame(OFFSET, 1, 4, bomb),
        "eight blocks of a megabyte": frames.frame(OFFSET, 8, 4, bomb * 8),
        "an extent of noise": frames.data(OFFSET, *(pages.incompressible(n) for n in range(MAX_PAGES))),
        "an extent of zeros as data": frames.data(OFFSET, *[pages.zero()] * MAX_PAGES),
        "an extent of blocks": frames.lz4_frame(OFFSET, *(pages.compressible(n) for n in range(MAX_PAGES))),
        "an extent of one word": frames.same(OFFSET, MAX_PAGES, b"\x01" * 8),
    }


def peak_of(body: bytes) -> int:
    """The most bytes that Python held at once, beyond the body, while it was parsed and its result held."""
    parse_or_refuse(body)  # once before: what is made once for all does not count
    tracemalloc.start()
    try:
        held = parse_or_refuse(body)
        peak = tracemalloc.get_traced_memory()[1]
        del held
        return peak
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", greedy_bodies().values(), ids=greedy_bodies())
def test_memory_is_bounded_by_an_extent(body: bytes) -> None:
    """Whatever a body claims, the parser holds at most one extent's worth beside it."""
    assert peak_of(body) <= EXTENT_BYTES + SLACK_BYTES


@given(parts=st.lists(loose_frames, max_size=6))
def test_memory_is_bounded_for_any_frames(parts: list[bytes]) -> None:
    """The same for frames at random."""
    assert peak_of(b"".join(parts)) <= EXTENT_BYTES + SLACK_BYTES


def test_atheris_finds_nothing(tmp_path: Path) -> None:
    """A coverage-guided fuzzer, begun with a good body of each form, finds no input that breaks the rules."""
    pytest.importorskip("atheris", reason="atheris is not installed (it has no wheel for every platform)")
    seeds = {
        "data": frames.data(OFFSET, pages.compressible()),
        "zero": frames.zero(OFFSET, MAX_PAGES),
        "same": frames.same(OFFSET, 2, b"pagepool"),
        "lz4": frames.lz4_frame(OFFSET, pages.same(), pages.compressible()),
        "two": frames.zero(OFFSET + 2) + frames.same(OFFSET, 1, b"pagepool"),
    }
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, body in seeds.items():
        (corpus / name).write_bytes(body)
    limits = ["-runs=20000", "-max_total_time=20", "-max_len=16384", f"-artifact_prefix={tmp_path}/"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz_frames", *limits, str(corpus)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
