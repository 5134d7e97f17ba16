from __future__ import annotations

import struct

import lz4.block
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pagepool_client import BrokenAnswer, Frame, FrameKind, PageCounts
from pagepool_client.answers import LoadedFrames
from pagepool_client.frames import decode_answer, encode_pages, merge_extents

SIZE = 4096
ZERO = bytes(SIZE)
WORD = bytes.fromhex("1122334455667788")
SAME = WORD * (SIZE // 8)
TEXT = (b"some text that repeats, " * 200)[:SIZE]
NOISE = bytes(b for i in range(SIZE // 8) for b in xxhash.xxh3_64_digest(i.to_bytes(4)))

TEXT_BLOCK = lz4.block.compress(TEXT, store_size=False)
TEXT_PAYLOAD = struct.pack("<H", len(TEXT_BLOCK)) + struct.pack("<Q", xxhash.xxh3_64_intdigest(TEXT)) + TEXT_BLOCK

GOLDEN = [
    pytest.param(NOISE, FrameKind.DATA, "0900000000000000 01000000 00 000000", NOISE, id="data"),
    pytest.param(ZERO, FrameKind.ZERO, "0900000000000000 01000000 01 000000", b"", id="zero"),
    pytest.param(SAME, FrameKind.SAME, "0900000000000000 01000000 02 000000", WORD, id="same"),
    pytest.param(TEXT, FrameKind.LZ4, "0900000000000000 01000000 04 000000", TEXT_PAYLOAD, id="lz4"),
]


def end(count: int) -> bytes:
    return bytes(8) + struct.pack("<I", count) + bytes.fromhex("ff000000")


@pytest.mark.parametrize(("page", "kind", "head", "payload"), GOLDEN)
def test_golden_bytes(page: bytes, kind: FrameKind, head: str, payload: bytes) -> None:
    """Each kind of page is put into its own kind of frame, to the byte, and read back from it."""
    body = bytes.fromhex(head) + payload
    assert encode_pages(page, 9, SIZE).body == body
    (decoded,) = decode_answer(body + end(1), SIZE, [(9, 1)])
    assert (decoded.offset, decoded.count, decoded.kind) == (9, 1, kind)
    assert (b"".join(decoded.buffers) or ZERO) == page


@pytest.mark.parametrize("kind", [FrameKind.ABSENT, FrameKind.CORRUPT])
def test_frames_of_answers_only(kind: FrameKind) -> None:
    """Absent and corrupt pages come as frames without a payload."""
    body = bytes.fromhex("0900000000000000 03000000") + bytes([kind, 0, 0, 0])
    assert decode_answer(body + end(3), SIZE, [(9, 3)]) == [Frame(9, 3, kind)]


def test_a_run_of_one_kind_is_one_frame() -> None:
    """Neighbours of one kind share a head: a run of zeros costs 16 bytes, and only equal words are one same frame."""
    assert len(encode_pages(ZERO * 512, 0, SIZE).body) == 16
    assert len(encode_pages(SAME * 3, 0, SIZE).body) == 24
    assert len(encode_pages(SAME + b"12345678" * 512, 0, SIZE).body) == 48
    assert len(encode_pages(NOISE * 2, 0, SIZE).body) == 16 + 2 * SIZE
    assert len(encode_pages(TEXT * 2, 0, SIZE).body) == 16 + 2 * len(TEXT_PAYLOAD)


def test_kinds_are_counted() -> None:
    """Encoding says how many pages of each kind there were."""
    encoded = encode_pages(ZERO + TEXT + TEXT + SAME + NOISE, 0, SIZE)
    assert encoded.counts == PageCounts(zero=1, same=1, compressed=2, raw=1)


def test_without_lz4_pages_go_as_they_are() -> None:
    """With `lz4=False` there is no frame of kind 4; zero and same-filled pages still are frames of their own."""
    body = encode_pages(TEXT + ZERO + TEXT, 0, SIZE, lz4=False).body
    assert len(body) == 3 * 16 + 2 * SIZE


@given(st.lists(st.sampled_from([ZERO, SAME, TEXT, NOISE, WORD[::-1] * 512]), min_size=1, max_size=12))
def test_round_trip(pages: list[bytes]) -> None:
    """What is encoded is what is decoded, whatever the order of kinds."""
    body = encode_pages(b"".join(pages), 100, SIZE).body + end(len(pages))
    loaded = LoadedFrames(decode_answer(body, SIZE, [(100, len(pages))]), SIZE, len(body))
    assert list(loaded.pages()) == list(enumerate(pages, 100))


def test_every_truncation_is_refused() -> None:
    """No answer that was cut, wherever, is taken for a whole one."""
    body = encode_pages(ZERO + SAME + TEXT + NOISE[:SIZE], 0, SIZE).body + end(4)
    decode_answer(body, SIZE, [(0, 4)])
    for length in range(len(body)):
        with pytest.raises(BrokenAnswer):
            decode_answer(body[:length], SIZE, [(0, 4)])


def test_every_flipped_bit_of_a_block_is_noticed() -> None:
    """A page whose block or digest was damaged on the way is never handed out."""
    body = encode_pages(TEXT, 0, SIZE).body + end(1)
    for position in range(16, len(body) - 16):
        damaged = bytearray(body)
        damaged[position] ^= 1 << position % 8
        try:
            (decoded,) = decode_answer(bytes(damaged), SIZE, [(0, 1)])
        except BrokenAnswer:
            continue
        assert decoded.buffers[0] == TEXT  # a block may say the same in another way


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(end(1), id="answers for nothing"),
        pytest.param(encode_pages(ZERO, 5, SIZE).body + end(1), id="another page"),
        pytest.param(encode_pages(ZERO * 2, 4, SIZE).body + end(2), id="more pages"),
        pytest.param(encode_pages(ZERO, 4, SIZE).body * 2 + end(2), id="a page twice"),
        pytest.param(encode_pages(ZERO, 4, SIZE).body + end(2), id="a wrong count"),
        pytest.param(encode_pages(ZERO, 4, SIZE).body + end(1) + end(1), id="something after the end"),
        pytest.param(b"\4" + bytes(7) + b"\1\0\0\0\1\0\0\1" + end(1), id="reserved bytes"),
        pytest.param(b"\4" + bytes(7) + b"\1\0\0\0\6\0\0\0" + end(1), id="an unknown kind"),
        pytest.param(b"\4" + bytes(7) + b"\0\0\0\0\1\0\0\0" + end(0), id="an empty frame"),
        pytest.param(b"\4" + bytes(7) + b"\xff\xff\xff\xff\2\0\0\0" + WORD + end(1), id="four billion same pages"),
    ],
)
def test_answers_that_break_the_protocol(body: bytes) -> None:
    """An answer for other pages than those asked for, or in another form, is an error."""
    with pytest.raises(BrokenAnswer):
        decode_answer(body, SIZE, [(4, 1)])


def test_frames_may_come_in_any_order() -> None:
    """Frames are sorted by offset, and may answer for scattered extents."""
    body = encode_pages(TEXT, 90, SIZE).body + encode_pages(SAME * 2, 7, SIZE).body + end(3)
    frames = decode_answer(body, SIZE, [(90, 1), (7, 2)])
    assert [(frame.offset, frame.count) for frame in frames] == [(7, 2), (90, 1)]


def test_merge_extents() -> None:
    """Extents that touch or overlap become one; an empty one is an error."""
    assert merge_extents([(9, 1), (0, 4), (2, 5), (7, 1)]) == [(0, 8), (9, 1)]
    with pytest.raises(ValueError, match="0 pages"):
        merge_extents([(1, 0)])
