"""Pages with the bytes that they are kept as, written down by hand: what is stored today must be readable for ever.

A compressor's output may change between its versions, so its blobs say what must decode, not what is encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.page.classify import Kind
from app.settings import CompressorName

PAGE_SIZE = 4096

TEXT_PAGE = (b"the quick brown fox jumps over the lazy dog. " * 100)[:PAGE_SIZE]
TEXT_DIGEST = 0x5EA7_7A6A_79F3_C2F9
WORD = b"pagepool"
WORD_PAGE = WORD * (PAGE_SIZE // 8)
WORD_DIGEST = 0x364B_82E6_320A_0E6B

LZ4_BLOCK = bytes.fromhex(
    "f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00916c617a7920646f672e0e000f2d00"
    "ffffffffffffffffffffffffffffffc6506f672e2074"
)
LZ4HC_BLOCK = bytes.fromhex(
    "f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00af6c617a7920646f672e202d00"
    "ffffffffffffffffffffffffffffffca506f672e2074"
)
ZSTD_FRAME = bytes.fromhex(
    "28b52ffd0010bd0100c40274686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a79"
    "20646f672e0200cc87ca038630cb"
)


@dataclass(frozen=True)
class GoldenBlob:
    """A page at an address, and its envelope there; `encoder` is the compressor whose encoder must give it."""

    name: str
    type_: int
    offset: int
    page: bytes
    digest: int
    kind: Kind
    blob: bytes
    encoder: CompressorName | None


def _forms(type_: int, offset: int, raw: str, lz4: str, zstd: str, same: str) -> list[GoldenBlob]:
    def text(name: str, kind: Kind, head: str, payload: bytes, encoder: CompressorName | None = None) -> GoldenBlob:
        blob = bytes.fromhex(head) + payload
        return GoldenBlob(f"{name} at {type_}/{offset}", type_, offset, TEXT_PAGE, TEXT_DIGEST, kind, blob, encoder)

    same_blob = bytes.fromhex(same) + WORD
    return [
        text("raw", Kind.RAW, raw, TEXT_PAGE, CompressorName.NONE),
        text("lz4", Kind.COMPRESSED, lz4, LZ4_BLOCK),
        text("lz4hc", Kind.COMPRESSED, lz4, LZ4HC_BLOCK),
        text("zstd", Kind.COMPRESSED, zstd, ZSTD_FRAME),
        GoldenBlob(
            f"same at {type_}/{offset}",
            type_,
            offset,
            WORD_PAGE,
            WORD_DIGEST,
            Kind.SAME,
            same_blob,
            CompressorName.LZ4,
        ),
    ]


GOLDEN_BLOBS = [
    *_forms(0, 0, "10b629275e57d4159c", "11b629275e57d4159c", "12b629275e57d4159c", "1324e5de15db2cf9f4"),
    *_forms(1, 7, "10741402c4c8916bed", "11741402c4c8916bed", "12741402c4c8916bed", "13e6d8fb8f44698785"),
    *_forms(7, 511, "106ac0135d08b447e6", "116ac0135d08b447e6", "126ac0135d08b447e6", "13f80cea16844cab8e"),
    *_forms(
        (1 << 31) - 1,
        (1 << 51) - 1,
        "10124146793bbe4225",
        "11124146793bbe4225",
        "12124146793bbe4225",
        "13808dbf32b746ae4d",
    ),
]

GOLDEN_ZERO_DIGESTS = {
    4096: 0x93D7_6FE1_48C6_89BA,
    8192: 0x6207_9793_0AB0_991A,
    16384: 0xB7CE_04B8_1707_A4D0,
    32768: 0xBFE2_AD64_AFAF_0DD7,
    65536: 0x33B2_02D3_02B6_5CAA,
}

GOLDEN_FRAMES = {
    # kind: the frame of two pages from offset 0x0102030405 on (one page where it has a payload a page), its pages
    "data": (bytes.fromhex("0504030201000000 01000000 00 000000") + TEXT_PAGE, [TEXT_PAGE]),
    "zero": (bytes.fromhex("0504030201000000 02000000 01 000000"), [bytes(PAGE_SIZE)] * 2),
    "same": (bytes.fromhex("0504030201000000 02000000 02 000000") + WORD, [WORD_PAGE] * 2),
    "absent": (bytes.fromhex("0504030201000000 02000000 03 000000"), []),
    "lz4": (
        bytes.fromhex("0504030201000000 01000000 04 000000 4800 f9c2f3796a7aa75e") + LZ4_BLOCK,
        [TEXT_PAGE],
    ),
    "corrupt": (bytes.fromhex("0504030201000000 02000000 05 000000"), []),
    "end": (bytes.fromhex("0000000000000000 02000000 ff 000000"), []),
}
GOLDEN_OFFSET = 0x01_0203_0405
