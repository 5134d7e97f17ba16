"""The envelope: golden bytes, and that whatever happens to a blob, a load never gives other bytes."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import lz4.block
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import PageCorrupt
from app.page import codec
from app.page.address import MAX_TYPE, offset_limit
from app.page.classify import Kind
from app.page.codec import ABSENT, CORRUPT, UNREADABLE_BLOB, ZERO_BLOB, Encoder, address_mix, decode, decode_extent
from app.settings import CompressorName
from tests.harness import pages
from tests.page.golden import (
    GOLDEN_BLOBS,
    GOLDEN_ZERO_DIGESTS,
    LZ4_BLOCK,
    PAGE_SIZE,
    TEXT_DIGEST,
    TEXT_PAGE,
    WORD,
    WORD_PAGE,
    GoldenBlob,
)

AT_1_7 = [each for each in GOLDEN_BLOBS if (each.type_, each.offset) == (1, 7)]
EVERY_PAGE_SIZE = (4096, 8192, 16384, 32768, 65536)

golden = pytest.mark.parametrize("case", GOLDEN_BLOBS, ids=lambda case: case.name)
each_form = pytest.mark.parametrize("case", AT_1_7, ids=lambda case: case.name)
types = st.integers(0, MAX_TYPE)
offsets = st.integers(0, offset_limit(PAGE_SIZE) - 1)


def load(blob: bytes, case: GoldenBlob) -> bytes | None:
    """What a load of the case's address gives for this blob; None where it is found corrupt."""
    try:
        page, digest, _ = decode(blob, PAGE_SIZE, case.type_, case.offset)
    except PageCorrupt:
        return None
    assert digest == xxhash.xxh3_64_intdigest(page)
    return page


@golden
def test_golden_blobs_decode(case: GoldenBlob) -> None:
    """What was ever stored stays readable: the page, its digest and its kind come out of the bytes written here."""
    assert decode(case.blob, PAGE_SIZE, case.type_, case.offset) == (case.page, case.digest, case.kind)


@pytest.mark.parametrize("case", [each for each in GOLDEN_BLOBS if each.encoder], ids=lambda case: case.name)
def test_golden_blobs_are_what_the_encoder_makes(case: GoldenBlob) -> None:
    """Where no compressor has a say, the encoder makes exactly the bytes written here."""
    encoder = Encoder(PAGE_SIZE, case.encoder)
    expected = (case.kind, case.digest, case.blob)
    assert encoder.encode(case.page, case.type_, case.offset) == expected
    assert encoder.encode(bytearray(case.page), case.type_, case.offset) == expected


def test_sizes_are_pinned() -> None:
    """An envelope is 9 bytes: a same-filled page takes 17, a raw one a page and 9, a zero page none."""
    assert codec.ENVELOPE_BYTES == 9
    lengths = {each.name: len(each.blob) for each in AT_1_7}
    assert lengths == {"raw at 1/7": 4105, "lz4 at 1/7": 81, "lz4hc at 1/7": 79, "zstd at 1/7": 73, "same at 1/7": 17}
    encoded = Encoder(PAGE_SIZE, CompressorName.LZ4).encode(bytes(PAGE_SIZE), 1, 7)
    assert (encoded.kind, encoded.blob, encoded.stored_length) == (Kind.ZERO, None, 0)


@pytest.mark.parametrize("page_size", EVERY_PAGE_SIZE)
def test_the_zero_page_has_the_digest_of_its_bytes(page_size: int) -> None:
    """A zero page's ETag is the XXH3-64 of a page of zeros, for each page size."""
    encoder = Encoder(page_size, CompressorName.LZ4)
    assert encoder.zero_digest == GOLDEN_ZERO_DIGESTS[page_size]
    assert encoder.encode(bytes(page_size), 0, 0).digest == GOLDEN_ZERO_DIGESTS[page_size]


@each_form
def test_every_truncation_is_corrupt(case: GoldenBlob) -> None:
    """A blob cut short anywhere, down to nothing, is corrupt, and so is one with a byte too many."""
    for length in range(len(case.blob)):
        assert load(case.blob[:length], case) is None, length
    assert load(case.blob + b"\x00", case) is None


@each_form
def test_no_flipped_bit_gives_other_bytes(case: GoldenBlob) -> None:
    """A blob with any one bit flipped, byte 0 included, is corrupt or still decodes to the very page."""
    blob = bytearray(case.blob)
    for bit in range(len(blob) * 8):
        blob[bit // 8] ^= 1 << bit % 8
        assert load(bytes(blob), case) in {None, case.page}, bit
        blob[bit // 8] ^= 1 << bit % 8


def test_no_flipped_bit_of_a_real_block_gives_other_bytes() -> None:
    """The same for a page with many matches and literals, under each compressor."""
    page = pages.compressible(5)
    for name in (CompressorName.LZ4, CompressorName.LZ4HC, CompressorName.ZSTD):
        encoded = Encoder(PAGE_SIZE, name).encode(page, 3, 9)
        assert encoded.kind is Kind.COMPRESSED
        blob = bytearray(encoded.blob or b"")
        case = GoldenBlob(name, 3, 9, page, encoded.digest, encoded.kind, bytes(blob), None)
        for bit in range(len(blob) * 8):
            blob[bit // 8] ^= 1 << bit % 8
            assert load(bytes(blob), case) in {None, page}, bit
            blob[bit // 8] ^= 1 << bit % 8


@golden
def test_a_blob_at_another_address_is_corrupt(case: GoldenBlob) -> None:
    """A blob that was moved is corrupt wherever it lands: next door, in another type, with type and offset swapped."""
    elsewhere = {
        (case.type_, case.offset + 1),
        (case.type_, abs(case.offset - 1)),
        (case.type_ + 1, case.offset),
        (case.type_ ^ 1 << 30, case.offset),
        (case.type_, case.offset ^ 1 << 50),
        *((each.type_, each.offset) for each in GOLDEN_BLOBS),
    } - {(case.type_, case.offset)}
    for type_, offset in elsewhere:
        with pytest.raises(PageCorrupt):
            decode(case.blob, PAGE_SIZE, type_, offset)


@given(type_=types, offset=offsets, other_type=types, other_offset=offsets, step=st.integers(1, 1 << 20))
def test_addresses_are_told_apart(type_: int, offset: int, other_type: int, other_offset: int, step: int) -> None:
    """No two addresses near each other, and none that chance gives, share the mix that binds a digest."""
    assert codec.address_mix(type_, offset) != codec.address_mix(type_, offset + step)
    if (type_, offset) != (other_type, other_offset):
        assert codec.address_mix(type_, offset) != codec.address_mix(other_type, other_offset)


@given(type_=types, offset=offsets)
def test_consecutive_mixes_are_those_of_the_addresses(type_: int, offset: int) -> None:
    """The mixes that extents count up by addition are the ones that single pages multiply out."""
    counted = [mix for _, mix in zip(range(4), codec.address_mixes(type_, offset), strict=False)]
    assert counted == [codec.address_mix(type_, offset + index) for index in range(4)]


@each_form
def test_every_other_leading_byte_is_corrupt(case: GoldenBlob) -> None:
    """A version or a form that this build does not know, or another form's, is corrupt and not guessed at."""
    for lead in range(256):
        if lead != case.blob[0]:
            assert load(bytes([lead]) + case.blob[1:], case) is None, lead


def test_a_long_blob_is_not_multiplied_out() -> None:
    """A blob that claims to be same-filled, but bears more than a word, is corrupt before it is repeated."""
    tracemalloc.start()
    try:
        with pytest.raises(PageCorrupt):
            decode(b"\x13" + bytes(8) + TEXT_PAGE, PAGE_SIZE, 1, 7)
        assert tracemalloc.get_traced_memory()[1] < 4 * PAGE_SIZE
    finally:
        tracemalloc.stop()


@each_form
def test_the_wrong_page_size_is_corrupt(case: GoldenBlob) -> None:
    """A blob of a pool with another page size is corrupt, shorter or longer."""
    for page_size in (2048, 8192, 65536):
        with pytest.raises(PageCorrupt):
            decode(case.blob, page_size, case.type_, case.offset)


@pytest.mark.parametrize("page_size", EVERY_PAGE_SIZE)
@pytest.mark.parametrize("compressor", CompressorName)
def test_every_kind_comes_back(compressor: CompressorName, page_size: int) -> None:
    """Pages of every kind come back as they went in, under every compressor and page size."""
    encoder = Encoder(page_size, compressor)
    for kind, page in pages.of_each_kind(page_size).items():
        encoded = encoder.encode(page, 5, 11)
        expected = "raw" if compressor is CompressorName.NONE and kind == "compressed" else kind
        assert encoded.kind.word == expected
        assert encoded.digest == xxhash.xxh3_64_intdigest(page)
        if encoded.blob is not None:
            assert decode(encoded.blob, page_size, 5, 11) == (page, encoded.digest, encoded.kind)


@pytest.mark.parametrize("page_size", EVERY_PAGE_SIZE)
def test_compressed_is_shorter_than_a_page(page_size: int) -> None:
    """A page whose block would not be shorter than itself is kept raw, so that every block fits a frame's u16."""
    encoder = Encoder(page_size, CompressorName.LZ4)
    noise = pages.incompressible(1, page_size)
    block_lengths = set()
    for repeated in range(page_size // 64):
        page = noise[: page_size - repeated] + bytes(repeated)
        encoded = encoder.encode(page, 0, 0)
        assert encoded.blob is not None
        length = len(lz4.block.compress(page, store_size=False))
        assert encoded.kind is (Kind.COMPRESSED if length < page_size else Kind.RAW)
        found = codec.open_lz4(encoded.blob, page_size, address_mix(0, 0))
        assert (found is None) is (encoded.kind is Kind.RAW)
        block_lengths.add(length - page_size)
    assert {-1, 0, 1} <= block_lengths


def test_real_pages_come_back_one_by_one_and_as_an_extent() -> None:
    """An extent is encoded and decoded exactly as its pages one by one."""
    body_pages = list(pages.real(512)) + [pages.zero(), pages.same()] * 4
    encoder = Encoder(PAGE_SIZE, CompressorName.LZ4)
    body = b"".join(body_pages)
    for form in (body, bytearray(body)):
        extent = encoder.encode_extent(form, 2, 1000)
        singles = [encoder.encode(page, 2, 1000 + index) for index, page in enumerate(body_pages)]
        assert list(extent.offsets) == list(range(1000, 1000 + len(body_pages)))
        assert list(extent.kinds) == [each.kind for each in singles]
        assert extent.blobs == [each.blob or ZERO_BLOB for each in singles]
        assert sum(map(len, extent.blobs)) == sum(each.stored_length for each in singles)
        assert len(extent) == len(body_pages)
    decoded = decode_extent(extent.blobs, PAGE_SIZE, 2, 1000)
    assert decoded.pages == body_pages
    assert decoded.states == extent.kinds


def test_part_of_a_body_is_encoded_where_it_lies() -> None:
    """An extent may be cut out of a longer body without a copy of it."""
    encoder = Encoder(PAGE_SIZE, CompressorName.NONE)
    body = b"head" + TEXT_PAGE + WORD_PAGE + b"tail"
    extent = encoder.encode_extent(body, 1, 6, 4, 4 + 2 * PAGE_SIZE)
    assert extent.kinds == bytes([Kind.RAW, Kind.SAME])
    assert decode_extent(extent.blobs, PAGE_SIZE, 1, 6).pages == [TEXT_PAGE, WORD_PAGE]


def test_a_load_of_an_extent_tells_absent_and_corrupt_pages_apart() -> None:
    """Of an extent each page has a state of its own, and one that is corrupt gives no bytes."""
    shifted = Encoder(PAGE_SIZE, CompressorName.LZ4).encode_extent(TEXT_PAGE * 2, 1, 7).blobs
    held = [None, ZERO_BLOB, shifted[0], UNREADABLE_BLOB]
    found = decode_extent(held, PAGE_SIZE, 1, 5)
    assert list(found.states) == [ABSENT, Kind.ZERO, Kind.COMPRESSED, CORRUPT]
    assert found.pages == [b"", bytes(PAGE_SIZE), TEXT_PAGE, b""]
    assert list(decode_extent(shifted[::-1], PAGE_SIZE, 1, 7).states) == [CORRUPT, CORRUPT]


def test_a_block_that_came_with_its_page_is_kept_as_it_is() -> None:
    """A verified block is not compressed again, but a same-filled page is recognised all the same."""
    encoder = Encoder(PAGE_SIZE, CompressorName.ZSTD)
    mix = address_mix(1, 7)
    assert encoder.envelop(TEXT_PAGE, TEXT_DIGEST ^ mix, LZ4_BLOCK) == (Kind.COMPRESSED, AT_1_7[1].blob)
    assert encoder.envelop(WORD_PAGE, AT_1_7[4].digest ^ mix, b"-") == (Kind.SAME, AT_1_7[4].blob)


def test_a_same_filled_page_is_made_from_its_word() -> None:
    """A word alone gives what the page filled with it gives."""
    expected = Encoder(PAGE_SIZE, CompressorName.LZ4).encode(WORD_PAGE, 1, 7)
    assert codec.same_blob(WORD, expected.digest ^ address_mix(1, 7)) == expected.blob


def test_only_lz4_blobs_have_a_block_to_pass_on() -> None:
    """`open_lz4` gives block and digest of LZ4 blobs, and nothing for every other form."""
    found = {each.name.split()[0]: codec.open_lz4(each.blob, PAGE_SIZE, address_mix(1, 7)) for each in AT_1_7}
    assert found["lz4"] == (LZ4_BLOCK, TEXT_DIGEST)
    assert [name for name, block in found.items() if block is None] == ["raw", "zstd", "same"]


@example(flip=600, cut=0)  # another block of the same page
@given(flip=st.integers(0, 8 * len(AT_1_7[1].blob) - 1), cut=st.integers(0, len(AT_1_7[1].blob) - 1))
def test_a_damaged_block_is_not_passed_on(flip: int, cut: int) -> None:
    """A flipped bit, a missing end, another address: the check of `open_lz4` is that of `open_envelope`.

    A flipped bit may leave a block that decodes to the very page, for a page can be copied together in several ways.
    """
    blob, mix = AT_1_7[1].blob, address_mix(1, 7)
    page = codec.open_envelope(blob, PAGE_SIZE, mix)[0]
    flipped = bytearray(blob)
    flipped[flip // 8] ^= 1 << flip % 8
    for damaged, at in ((bytes(flipped), mix), (blob[:cut], mix), (blob, address_mix(1, 8))):
        with suppress(PageCorrupt):
            found = codec.open_lz4(damaged, PAGE_SIZE, at)  # None: no LZ4 block, `open_envelope` has the say
            assert found is None or lz4.block.decompress(found[0], PAGE_SIZE) == page
        with suppress(PageCorrupt):
            assert codec.open_envelope(damaged, PAGE_SIZE, at)[0] == page
    with pytest.raises(PageCorrupt):
        codec.open_lz4(blob, PAGE_SIZE, address_mix(1, 8))


@given(blob=st.binary(max_size=64), lead=st.sampled_from([0x10, 0x11, 0x12, 0x13]))
def test_arbitrary_blobs_are_corrupt(blob: bytes, lead: int) -> None:
    """Bytes that nobody encoded raise PageCorrupt and nothing else, whichever form they claim."""
    for candidate in (blob, bytes([lead]) + blob):
        with pytest.raises(PageCorrupt):
            decode(candidate, PAGE_SIZE, 1, 7)
