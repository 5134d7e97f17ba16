"""The parser of frames: each form's golden bytes, every truncation of them, and each rule of contract 2.2."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import lz4.block
import pytest
import xxhash

from app.errors import BadFrame
from app.page import frames as layout
from app.page.classify import Kind
from app.page.codec import EncodedPages, Encoder, decode_extent
from app.page.frames import encode_frames, parse, scan
from app.settings import CompressorName
from tests.harness import frames, pages
from tests.page.golden import (
    GOLDEN_FRAMES,
    GOLDEN_OFFSET,
    LZ4_BLOCK,
    PAGE_SIZE,
    TEXT_DIGEST,
    TEXT_PAGE,
    WORD,
    WORD_PAGE,
)

TYPE = 3
OFFSET = 100
MAX_PAGES = 16
LAST = (1 << 63) // PAGE_SIZE - 1
ENCODER = Encoder(PAGE_SIZE, CompressorName.LZ4)

STORABLE = {name: GOLDEN_FRAMES[name] for name in ("data", "zero", "same", "lz4")}
HEAD = frames.HEAD_BYTES


def store(body: bytes | bytearray, offset: int = OFFSET, max_pages: int = MAX_PAGES) -> EncodedPages:
    """What a PUT of this body would store."""
    return parse(body, offset, max_pages, PAGE_SIZE, TYPE, ENCODER)


def loaded(stored: EncodedPages) -> dict[int, bytes]:
    """The pages by offset, as loads would give them afterwards."""
    found: dict[int, bytes] = {}
    for offset, blob in zip(stored.offsets, stored.blobs, strict=True):
        found[offset] = decode_extent([blob], PAGE_SIZE, TYPE, offset).pages[0]
    return found


def refusal(body: bytes | bytearray, **arguments: Any) -> tuple[int, str]:
    """Byte position and reason of the BadFrame that this body meets."""
    with pytest.raises(BadFrame) as caught:
        store(body, **arguments)
    position = caught.value.members["position"]
    assert isinstance(position, int)
    assert caught.value.detail.startswith(f"Byte {position}: ")
    return position, caught.value.detail.split(": ", 1)[1]


def block(length: int, digest: int, payload: bytes) -> bytes:
    """A page of an LZ4 frame whose parts need not agree."""
    return length.to_bytes(2, "little") + digest.to_bytes(8, "little") + payload


def lz4_frame(*blocks: bytes) -> bytes:
    """An LZ4 frame of these blocks at OFFSET."""
    return frames.frame(OFFSET, len(blocks), 4, b"".join(blocks))


def test_sizes_are_pinned() -> None:
    """A frame's header is 16 bytes, an LZ4 page's 10, and the kinds have the contract's numbers."""
    assert (layout.HEADER_BYTES, layout.BLOCK_HEAD_BYTES) == (16, 10)
    assert {kind.name.lower(): kind.value for kind in layout.FrameKind} == {
        "data": 0,
        "zero": 1,
        "same": 2,
        "absent": 3,
        "lz4": 4,
        "corrupt": 5,
        "end": 255,
    }


@pytest.mark.parametrize("name", STORABLE)
def test_golden_frames_parse(name: str) -> None:
    """Each form that may be stored gives the pages written beside it, at the offsets it names."""
    body, expected = STORABLE[name]
    for form in (body, bytearray(body)):
        stored = store(form, GOLDEN_OFFSET)
        assert list(stored.offsets) == [GOLDEN_OFFSET + index for index in range(len(expected))]
        assert list(loaded(stored).values()) == expected


@pytest.mark.parametrize("name", STORABLE)
def test_every_truncation_is_refused(name: str) -> None:
    """A frame cut at any byte is refused, and so is a body without any."""
    body, _ = STORABLE[name]
    for length in range(len(body)):
        position, _ = refusal(body[:length], offset=GOLDEN_OFFSET)
        assert position <= length


@pytest.mark.parametrize("name", STORABLE)
def test_every_truncation_behind_a_good_frame_is_refused(name: str) -> None:
    """The same behind another frame, and the position counts from the body's first byte."""
    first = frames.zero(GOLDEN_OFFSET + 5)
    body, _ = STORABLE[name]
    for length in range(1, len(body), 1 if len(body) < 200 else 31):
        position, _ = refusal(first + body[:length], offset=GOLDEN_OFFSET)
        assert HEAD <= position <= HEAD + length


@pytest.mark.parametrize("name", STORABLE)
def test_no_flipped_bit_gives_pages_that_cannot_be_loaded(name: str) -> None:
    """A body with any one bit flipped is refused, or stores pages that are whole and inside the extent."""
    body = bytearray(STORABLE[name][0])
    for bit in range(min(len(body), 200) * 8):
        body[bit // 8] ^= 1 << bit % 8
        try:
            stored = store(body, GOLDEN_OFFSET)
        except BadFrame:
            pass
        else:
            for offset, page in loaded(stored).items():
                assert GOLDEN_OFFSET <= offset < GOLDEN_OFFSET + MAX_PAGES
                assert len(page) == PAGE_SIZE
        body[bit // 8] ^= 1 << bit % 8


def test_a_flipped_bit_of_an_lz4_page_is_never_stored_as_another_page() -> None:
    """No flipped bit of a length, a digest or a block changes what is stored: the same page, or a refusal."""
    body = bytearray(GOLDEN_FRAMES["lz4"][0])
    for bit in range(HEAD * 8, len(body) * 8):
        body[bit // 8] ^= 1 << bit % 8
        with suppress(BadFrame):
            assert loaded(store(body, GOLDEN_OFFSET)) == {GOLDEN_OFFSET: TEXT_PAGE}
        body[bit // 8] ^= 1 << bit % 8


def test_frames_of_all_kinds_in_any_order() -> None:
    """Frames come in any order; what is stored is in ascending order, each page classified as its bytes are."""
    parts = [
        frames.data(OFFSET + 8, TEXT_PAGE, WORD_PAGE, bytes(PAGE_SIZE), pages.incompressible()),
        frames.same(OFFSET + 2, 3, WORD),
        frames.lz4_frame(OFFSET + 12, TEXT_PAGE, bytes(PAGE_SIZE), WORD_PAGE, pages.compressible()),
        frames.zero(OFFSET, 2),
    ]
    expected = {
        **{OFFSET + index: bytes(PAGE_SIZE) for index in range(2)},
        **{OFFSET + index: WORD_PAGE for index in range(2, 5)},
        OFFSET + 8: TEXT_PAGE,
        OFFSET + 9: WORD_PAGE,
        OFFSET + 10: bytes(PAGE_SIZE),
        OFFSET + 11: pages.incompressible(),
        OFFSET + 12: TEXT_PAGE,
        OFFSET + 13: bytes(PAGE_SIZE),
        OFFSET + 14: WORD_PAGE,
        OFFSET + 15: pages.compressible(),
    }
    for seed in range(6):
        random.Random(seed).shuffle(parts)
        stored = store(b"".join(parts))
        assert list(stored.offsets) == sorted(expected)
        assert loaded(stored) == expected
        assert [stored.kinds.count(kind) for kind in Kind] == [4, 5, 3, 1]


def test_frames_store_what_the_plain_extent_stores() -> None:
    """An extent of real pages gives the same kinds and pages as data, as LZ4, and as an octet-stream."""
    real = list(pages.real(512))
    plain = ENCODER.encode_extent(b"".join(real), TYPE, OFFSET)
    for body in (frames.data(OFFSET, *real), _best_frames(real)):
        stored = store(body, max_pages=512)
        assert list(stored.offsets) == list(plain.offsets)
        assert stored.kinds == plain.kinds
        assert list(loaded(stored).values()) == real


def _best_frames(real: list[bytes]) -> bytes:
    """LZ4 for what it makes shorter, data for the rest, as a client would."""
    parts = []
    for index, page in enumerate(real):
        shrinks = len(lz4.block.compress(page, store_size=False)) < PAGE_SIZE
        parts.append((frames.lz4_frame if shrinks else frames.data)(OFFSET + index, page))
    return b"".join(parts)


def test_an_lz4_block_is_kept_as_it_came() -> None:
    """The server need not compress again: the block that came is the block that is kept, whatever the compressor."""
    encoder = Encoder(PAGE_SIZE, CompressorName.ZSTD)
    stored = parse(GOLDEN_FRAMES["lz4"][0], GOLDEN_OFFSET, MAX_PAGES, PAGE_SIZE, TYPE, encoder)
    assert stored.blobs[0].endswith(LZ4_BLOCK)
    assert stored.kinds == bytes([Kind.COMPRESSED])


def test_the_word_0_makes_zero_pages() -> None:
    """A same-filled frame of the word 0 stores zero pages, without a blob."""
    stored = store(frames.same(OFFSET, 3, bytes(8)))
    assert (stored.kinds, stored.blobs) == (bytes([Kind.ZERO] * 3), [b""] * 3)


@pytest.mark.parametrize("page_size", [4096, 65536])
def test_the_longest_block_fits_its_u16(page_size: int) -> None:
    """A block one byte shorter than a page is taken, for the largest page size as well; a block as long is not."""
    noise = pages.incompressible(4, page_size)
    encoder = Encoder(page_size, CompressorName.LZ4)
    lengths = set()
    for repeated in range(1, page_size // 64):
        page = noise[: page_size - repeated] + bytes(repeated)
        compressed = lz4.block.compress(page, store_size=False)
        lengths.add(len(compressed) - page_size)
        if len(compressed) > 0xFFFF:
            continue
        body = lz4_frame(block(len(compressed), xxhash.xxh3_64_intdigest(page), compressed))
        if len(compressed) < page_size:
            stored = parse(body, OFFSET, 1, page_size, TYPE, encoder)
            assert decode_extent(stored.blobs, page_size, TYPE, OFFSET).pages == [page]
        else:
            with pytest.raises(BadFrame, match="is not between"):
                parse(body, OFFSET, 1, page_size, TYPE, encoder)
    assert {-1, 0} <= lengths


def test_scanning_needs_no_page_decoded() -> None:
    """Headers are settled in a step of their own, so that the dear step can run elsewhere."""
    body = frames.zero(OFFSET + 4, 2) + lz4_frame(block(1, 0, b"\x00")) + frames.same(OFFSET + 6, 1, WORD)
    found = scan(body, OFFSET, MAX_PAGES, PAGE_SIZE)
    assert found == [(OFFSET, 1, 4, 16), (OFFSET + 4, 2, 1, 0), (OFFSET + 6, 1, 2, 43)]
    with pytest.raises(BadFrame, match="Byte 32: "):
        encode_frames(body, found, PAGE_SIZE, TYPE, ENCODER)


# Each rule


def test_an_empty_body_is_refused() -> None:
    """A body without a frame names no page: it is refused, rather than answered as a store of nothing."""
    assert refusal(b"") == (0, "the body holds no frame.")


@pytest.mark.parametrize("kind", [6, 7, 128, 254])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    """A kind that the contract does not name is refused."""
    assert refusal(frames.zero(OFFSET) + frames.frame(OFFSET + 1, 1, kind)) == (
        16,
        f"the frame's kind {kind} is unknown.",
    )


@pytest.mark.parametrize("name", ["absent", "corrupt", "end"])
def test_the_kinds_of_answers_are_refused(name: str) -> None:
    """Absent, corrupt and end appear in answers only."""
    kind = GOLDEN_FRAMES[name][0][12]
    assert refusal(GOLDEN_FRAMES[name][0], offset=GOLDEN_OFFSET) == (
        0,
        f"the frame's kind {kind} appears in answers only.",
    )


@pytest.mark.parametrize("reserved", [b"\x01\x00\x00", b"\x00\x80\x00", b"\x00\x00\x01"])
def test_reserved_bytes_must_be_0(reserved: bytes) -> None:
    """Any reserved byte that is not 0 is refused."""
    body = frames.zero(OFFSET) + frames.frame(OFFSET + 1, 1, 1, reserved=reserved)
    assert refusal(body) == (16, "the frame's reserved bytes are not 0.")


@pytest.mark.parametrize("kind", [0, 1, 2, 4])
def test_a_count_of_0_is_refused(kind: int) -> None:
    """A frame of no pages is refused, whatever its kind."""
    assert refusal(frames.frame(OFFSET, 0, kind, WORD)) == (0, "the frame's count is 0.")


@pytest.mark.parametrize(
    ("offset", "count"),
    [(OFFSET - 1, 1), (OFFSET - 1, 2), (OFFSET + MAX_PAGES, 1), (OFFSET, MAX_PAGES + 1), (OFFSET + 15, 2), (0, 1)],
)
def test_pages_outside_the_extent_are_refused(offset: int, count: int) -> None:
    """Every page lies in [offset, offset + max_extent_pages)."""
    assert refusal(frames.zero(offset, count)) == (0, "the frame names pages outside 100 … 115.")


@pytest.mark.parametrize(("offset", "count"), [((1 << 64) - 1, 1), ((1 << 64) - 1, (1 << 32) - 1), (LAST + 1, 1)])
def test_offsets_of_64_bits_do_not_wrap_round(offset: int, count: int) -> None:
    """The largest numbers that a header can hold are outside like any other."""
    assert refusal(frames.zero(offset, count))[0] == 0


def test_pages_past_the_last_offset_are_refused() -> None:
    """Near the type's end the extent is clipped: its last page is stored, the one behind it refused."""
    assert list(store(frames.zero(LAST), offset=LAST).offsets) == [LAST]
    assert list(store(frames.zero(LAST - 1, 2), offset=LAST - 1).offsets) == [LAST - 1, LAST]
    for body in (frames.zero(LAST, 2), frames.zero(LAST + 1)):
        assert refusal(body, offset=LAST) == (0, f"the frame names pages outside {LAST} … {LAST}.")


def test_more_pages_than_an_extent_are_refused() -> None:
    """A body of max_extent_pages pages is stored; one page more is outside or named twice, so refused."""
    full = frames.zero(OFFSET, MAX_PAGES)
    assert len(store(full)) == MAX_PAGES
    for more in (frames.zero(OFFSET + MAX_PAGES), frames.zero(OFFSET), full):
        assert refusal(full + more)[0] == 16


@pytest.mark.parametrize("second", [(OFFSET, 4), (OFFSET + 3, 1), (OFFSET + 3, 5), (OFFSET + 1, 1)])
def test_an_address_twice_is_refused(second: tuple[int, int]) -> None:
    """A page that two frames name is refused, whether they overlap wholly or by one page, in either order."""
    first = (OFFSET, 4)
    for one, other in ((first, second), (second, first)):
        body = frames.zero(*one) + frames.same(*other, WORD)
        assert refusal(body) == (16, "the frame names a page that an earlier frame named.")


def test_neighbours_are_not_twice() -> None:
    """Frames that touch without overlapping are fine, in either order."""
    assert len(store(frames.zero(OFFSET + 2, 2) + frames.zero(OFFSET, 2) + frames.zero(OFFSET + 4))) == 5


def test_a_length_of_0_is_refused() -> None:
    """An LZ4 block of no bytes is refused."""
    body = lz4_frame(block(0, TEXT_DIGEST, b""))
    assert refusal(body) == (16, "the LZ4 block's length 0 is not between 1 and 4095.")


@pytest.mark.parametrize("length", [4096, 5000, 65535])
def test_a_block_not_shorter_than_a_page_is_refused(length: int) -> None:
    """A block as long as a page, or longer, is refused even if it would decode; the page belongs into a data frame."""
    page = pages.incompressible()
    body = lz4_frame(block(length, xxhash.xxh3_64_intdigest(page), bytes(length)))
    assert refusal(body) == (16, f"the LZ4 block's length {length} is not between 1 and 4095.")


def test_the_second_page_of_a_frame_is_checked_as_the_first() -> None:
    """The position is the page's own, not its frame's."""
    good = block(len(LZ4_BLOCK), TEXT_DIGEST, LZ4_BLOCK)
    at = HEAD + len(good)
    assert refusal(lz4_frame(good, block(0, 0, b"")))[0] == at
    assert refusal(lz4_frame(good, block(len(LZ4_BLOCK), TEXT_DIGEST ^ 1, LZ4_BLOCK)))[0] == at
    assert refusal(lz4_frame(good, good)[:-1]) == (at, "the LZ4 block is cut.")


def test_a_block_that_is_not_lz4_is_refused() -> None:
    """Bytes that are no LZ4 block are refused, with nothing of them in the message."""
    body = lz4_frame(block(40, TEXT_DIGEST, b"\xff" * 40))
    assert refusal(body) == (16, "the LZ4 block does not decode.")


@pytest.mark.parametrize("length", [1, 4000, 4095])
def test_a_block_of_less_than_a_page_is_refused(length: int) -> None:
    """A block that decodes to less than a page is refused, though its digest is right."""
    short = TEXT_PAGE[:length]
    compressed = lz4.block.compress(short, store_size=False)
    body = lz4_frame(block(len(compressed), xxhash.xxh3_64_intdigest(short), compressed))
    assert refusal(body) == (16, f"the LZ4 block decodes to {length} bytes, not one page.")


@pytest.mark.parametrize("length", [4097, 8192, 1 << 20])
def test_a_block_of_more_than_a_page_is_refused(length: int) -> None:
    """A block that decodes to more than a page is refused and never decoded further."""
    compressed = lz4.block.compress(bytes(length), store_size=False)[:4095]
    body = lz4_frame(block(len(compressed), xxhash.xxh3_64_intdigest(bytes(length)), compressed))
    assert refusal(body)[0] == 16


def test_a_digest_that_is_not_the_pages_is_refused() -> None:
    """A block that decodes to one page but not to its digest is refused; so is a zero page's under another digest."""
    mismatch = "the page that the LZ4 block decodes to does not match its digest."
    for page, digest in ((TEXT_PAGE, TEXT_DIGEST ^ 1 << 63), (bytes(PAGE_SIZE), TEXT_DIGEST), (WORD_PAGE, 0)):
        compressed = lz4.block.compress(page, store_size=False)
        assert refusal(lz4_frame(block(len(compressed), digest, compressed))) == (16, mismatch)


def test_cut_frames_are_refused_at_their_own_position() -> None:
    """A cut header, payload and word are each named at the frame's first byte."""
    first = frames.zero(OFFSET + 8)
    assert refusal(first + frames.zero(OFFSET)[:15]) == (16, "the frame's header is cut.")
    assert refusal(first + frames.data(OFFSET, TEXT_PAGE)[:-1]) == (16, "the frame's payload is cut.")
    assert refusal(first + frames.same(OFFSET, 1, WORD)[:-1]) == (16, "the frame's payload is cut.")


def test_one_bad_frame_refuses_the_whole_body() -> None:
    """Nothing of a request is stored when its last frame is bad: the parser gives all pages or none."""
    good = frames.data(OFFSET, TEXT_PAGE)
    assert refusal(good + frames.zero(OFFSET + 1) + b"\x00") == (len(good) + 16, "the frame's header is cut.")


def test_no_page_bytes_in_any_refusal() -> None:
    """A refusal names positions, kinds and lengths, and no byte of a page."""
    secret = b"secret, and not to be shown. " * 142
    page = secret[:PAGE_SIZE]
    for body in (
        frames.data(OFFSET, page)[:-1],
        lz4_frame(block(40, 0, page[:40])),
        frames.data(OFFSET, page) + page[:200],
        frames.same(OFFSET, 1, page[:8]) * 2,
    ):
        _, reason = refusal(body)
        assert "secret" not in reason
