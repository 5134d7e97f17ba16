"""Answers in frames: golden bytes, runs that merge, blocks that pass through verified, and damage that is named."""

from __future__ import annotations

from collections.abc import Iterable

import lz4.block
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from app.page.classify import Kind
from app.page.codec import ABSENT, CORRUPT, UNREADABLE_BLOB, ZERO_BLOB, Encoder, address_mix
from app.page.frame_writer import FrameWriter
from app.page.frames import FrameKind, parse
from app.settings import CompressorName
from tests.harness import frames, pages
from tests.page.golden import GOLDEN_FRAMES, GOLDEN_OFFSET, LZ4_BLOCK, PAGE_SIZE, TEXT_DIGEST, TEXT_PAGE, WORD_PAGE


def render(
    type_: int, extents: Iterable[tuple[int, Iterable[bytes | None]]], page_size: int, *, with_lz4: bool
) -> tuple[list[bytes], bytearray]:
    """A whole answer: its buffers, and the state of each page in the order asked for."""
    writer = FrameWriter(page_size, with_lz4=with_lz4)
    for offset, held in extents:
        writer.add(type_, offset, held)
    return writer.finish(), writer.states


TYPE = 3
ENCODER = Encoder(PAGE_SIZE, CompressorName.LZ4)
RAW = Encoder(PAGE_SIZE, CompressorName.NONE)


def blobs(offset: int, *body: bytes, encoder: Encoder = ENCODER) -> list[bytes | None]:
    """What the store would hold for these pages."""
    return list(encoder.encode_extent(b"".join(body), TYPE, offset).blobs)


def answer(*extents: tuple[int, list[bytes | None]], with_lz4: bool = False) -> bytes:
    """The body of an answer."""
    return b"".join(render(TYPE, extents, PAGE_SIZE, with_lz4=with_lz4)[0])


def golden_held(name: str) -> list[bytes | None]:
    """What must be held for the golden frame of this name."""
    at = GOLDEN_OFFSET
    _, text = ENCODER.envelop(TEXT_PAGE, TEXT_DIGEST ^ address_mix(TYPE, at), LZ4_BLOCK)
    return {
        "data": blobs(at, TEXT_PAGE, encoder=RAW),
        "zero": [ZERO_BLOB] * 2,
        "same": blobs(at, WORD_PAGE, WORD_PAGE),
        "absent": [None, None],
        "lz4": [text],
        "corrupt": [UNREADABLE_BLOB] * 2,
    }[name]


@pytest.mark.parametrize("name", [name for name in GOLDEN_FRAMES if name != "end"])
def test_golden_frames_are_written(name: str) -> None:
    """Each form is written as the bytes that the parser's golden table has, with the end frame behind it."""
    held = golden_held(name)
    expected, _ = GOLDEN_FRAMES[name]
    end = frames.frame(0, len(held), 255)
    assert answer((GOLDEN_OFFSET, held), with_lz4=True) == expected + end


def test_the_end_frame_is_golden_too() -> None:
    """The last frame has offset 0 and counts the pages answered for."""
    assert answer((GOLDEN_OFFSET, [None, None]))[-16:] == GOLDEN_FRAMES["end"][0]


def test_an_answer_about_no_page_is_an_end_frame() -> None:
    """An answer is never empty."""
    assert answer() == frames.frame(0, 0, 255)
    assert answer((5, [])) == frames.frame(0, 0, 255)


def test_neighbours_of_one_kind_share_a_frame() -> None:
    """Adjacent pages of one kind are merged into one frame; another word begins a new one."""
    other = b"\x07" * PAGE_SIZE
    held = [
        *blobs(10, TEXT_PAGE, pages.incompressible()),
        ZERO_BLOB,
        ZERO_BLOB,
        None,
        *blobs(15, WORD_PAGE, WORD_PAGE, other),
        UNREADABLE_BLOB,
        None,
    ]
    found = frames.read(answer((10, held)))
    assert [(each.offset, each.count, each.kind.name) for each in found] == [
        (10, 2, "DATA"),
        (12, 2, "ZERO"),
        (14, 1, "ABSENT"),
        (15, 2, "SAME"),
        (17, 1, "SAME"),
        (18, 1, "CORRUPT"),
        (19, 1, "ABSENT"),
    ]
    assert found[0].pages == (TEXT_PAGE, pages.incompressible())
    assert found[3].pages == (WORD_PAGE, WORD_PAGE)
    assert found[4].pages == (other,)


def test_extents_that_touch_are_merged_and_others_are_not() -> None:
    """Of several extents those that continue each other share a frame; a gap, or a step back, begins a new one."""
    found = frames.read(answer((0, [None] * 2), (2, [None] * 3), (6, [None]), (0, [None])))
    assert [(each.offset, each.count) for each in found] == [(0, 5), (6, 1), (0, 1)]


def test_the_word_of_a_run_is_not_carried_over_a_gap() -> None:
    """A same-filled run that is broken off bears its own word, and the next one its own."""
    held = [*blobs(0, WORD_PAGE), ZERO_BLOB, *blobs(2, WORD_PAGE)]
    found = frames.read(answer((0, held)))
    assert [(each.offset, each.kind.name) for each in found] == [(0, "SAME"), (1, "ZERO"), (2, "SAME")]
    assert found[0].pages == found[2].pages == (WORD_PAGE,)


@pytest.mark.parametrize("with_lz4", [False, True])
def test_lz4_appears_only_when_asked_for(with_lz4: bool) -> None:
    """Kind 4 is used if asked for, for pages kept as LZ4; zstd and raw pages go out as data either way."""
    zstd = Encoder(PAGE_SIZE, CompressorName.ZSTD)
    held = [
        *blobs(0, TEXT_PAGE),
        *blobs(1, TEXT_PAGE, encoder=zstd),
        *blobs(2, pages.incompressible()),
        *blobs(3, WORD_PAGE),
    ]
    found = frames.read(answer((0, held), with_lz4=with_lz4))
    kinds = [each.kind.name for each in found]
    assert kinds == (["LZ4", "DATA", "SAME"] if with_lz4 else ["DATA", "SAME"])
    assert list(frames.by_offset(found).values()) == [TEXT_PAGE, TEXT_PAGE, pages.incompressible(), WORD_PAGE]


def test_a_block_as_long_as_a_page_goes_out_as_data() -> None:
    """A blob of another make, whose block is no shorter than its page, is answered in the form that has room for it."""
    page = pages.incompressible()
    block = lz4.block.compress(page, store_size=False)
    assert len(block) >= PAGE_SIZE
    _, blob = ENCODER.envelop(page, xxhash.xxh3_64_intdigest(page) ^ address_mix(TYPE, 7), block)
    (found,) = frames.read(answer((7, [blob]), with_lz4=True))
    assert (found.kind, found.pages) == (frames.FrameKind.DATA, (page,))


@pytest.mark.parametrize("with_lz4", [False, True])
def test_no_blob_leaves_unverified(with_lz4: bool) -> None:
    """A blob of another address, or with any bit flipped, is answered as corrupt or with its own bytes."""
    (good,) = blobs(7, TEXT_PAGE)
    assert good is not None
    moved = frames.read(answer((8, [good]), with_lz4=with_lz4))
    assert [each.kind for each in moved] == [frames.FrameKind.CORRUPT]
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        found = frames.read(answer((7, [bytes(flipped)]), with_lz4=with_lz4))
        assert found[0].kind is frames.FrameKind.CORRUPT or found[0].pages == (TEXT_PAGE,), bit


def test_states_say_what_became_of_each_page() -> None:
    """The states are what the metrics count: hits by kind, misses, decode failures."""
    held = [None, ZERO_BLOB, *blobs(2, WORD_PAGE, TEXT_PAGE, pages.incompressible()), UNREADABLE_BLOB]
    writer = FrameWriter(PAGE_SIZE, with_lz4=True)
    writer.add(TYPE, 0, held)
    expected = [ABSENT, Kind.ZERO, Kind.SAME, Kind.COMPRESSED, Kind.RAW, CORRUPT]
    assert list(writer.states) == expected
    buffers, states = render(TYPE, [(0, held)], PAGE_SIZE, with_lz4=True)
    assert buffers == writer.finish()
    assert list(states) == expected


@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("with_lz4", [False, True])
def test_what_is_answered_can_be_stored_again(page_size: int, with_lz4: bool) -> None:
    """An answer without absent pages, less its end frame, is a body that stores the same blobs."""
    encoder = Encoder(page_size, CompressorName.LZ4)
    body = b"".join(pages.mixed(40, 9, page_size))
    stored = encoder.encode_extent(body, TYPE, 50)
    buffers, _ = render(TYPE, [(50, stored.blobs)], page_size, with_lz4=with_lz4)
    again = parse(b"".join(buffers)[:-16], 50, 40, page_size, TYPE, encoder)
    assert again.blobs == stored.blobs
    assert again.kinds == stored.kinds


@given(
    picks=st.lists(st.sampled_from(["absent", "zero", "same", "other word", "text", "raw", "damaged"]), max_size=40),
    with_lz4=st.booleans(),
    cut=st.integers(0, 40),
)
def test_every_page_is_answered_for_once(picks: list[str], with_lz4: bool, cut: int) -> None:
    """Whatever is held, and however it is cut into extents, each page is answered for once, with its own bytes."""
    bodies = {
        "zero": bytes(PAGE_SIZE),
        "same": WORD_PAGE,
        "other word": b"\x01" * PAGE_SIZE,
        "text": TEXT_PAGE,
        "raw": pages.incompressible(),
    }
    reasons = {"absent": frames.FrameKind.ABSENT, "damaged": frames.FrameKind.CORRUPT}
    held: list[bytes | None] = []
    for offset, pick in enumerate(picks):
        if pick in bodies:
            held += blobs(offset, bodies[pick])
        else:
            held.append(None if pick == "absent" else UNREADABLE_BLOB)
    whole = answer((0, held), with_lz4=with_lz4)
    assert answer((0, held[:cut]), (len(held[:cut]), held[cut:]), with_lz4=with_lz4) == whole
    found = frames.by_offset(frames.read(whole))
    assert found == {offset: bodies.get(pick) or reasons[pick] for offset, pick in enumerate(picks)}


def test_the_tables_of_kinds_agree() -> None:
    """The service's frame kinds are those that the test's own reader knows."""
    assert {kind.name: kind.value for kind in FrameKind} == {kind.name: kind.value for kind in frames.FrameKind}
