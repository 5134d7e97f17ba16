"""PUT of single pages (contract 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area

KINDS = pages.of_each_kind()


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_store_and_load(area: Area, kind: str) -> None:
    """A load returns the bytes of the last acknowledged store, whatever the page's kind."""
    area.store(7, KINDS[kind])
    assert area.load(7) == KINDS[kind]


@pytest.mark.parametrize("kind", pages.KINDS)
def test_success_is_an_empty_204(area: Area, kind: str) -> None:
    """A store is always answered with 204, with no body, created or replaced."""
    for _ in range(2):
        response = area.put(7, KINDS[kind])
        assert (response.status_code, response.content) == (204, b"")


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_page_counts(area: Area, kind: str) -> None:
    """`Page-Counts` names all four kinds, in this order."""
    expected = ", ".join(f"{each}={int(each == kind)}" for each in pages.KINDS)
    assert area.store(7, KINDS[kind]).headers["page-counts"] == expected


@pytest.mark.smoke
@pytest.mark.parametrize("kind", pages.KINDS)
def test_etag(area: Area, kind: str) -> None:
    """The ETag is the XXH3-64 of the page's bytes, 16 hex digits, strong, on PUT, GET and HEAD alike."""
    tags = {
        area.store(7, KINDS[kind]).headers["etag"],
        area.get(7).headers["etag"],
        area.head(7).headers["etag"],
    }
    assert tags == {pages.etag(KINDS[kind])}


def test_etag_does_not_depend_on_the_address(areas) -> None:
    """Equal pages bear equal ETags wherever they are."""
    first, second = areas(), areas()
    tags = {each.store(offset, KINDS["raw"]).headers["etag"] for each in (first, second) for offset in (0, 63, 64)}
    assert tags == {pages.etag(KINDS["raw"])}


@pytest.mark.parametrize("word", pages.SAME_WORDS.values(), ids=pages.SAME_WORDS)
def test_any_repeated_word_is_same_filled(area: Area, word: bytes) -> None:
    """A page of one 8-byte word repeated, not zero, is of kind same, whatever the word."""
    page = pages.same(word)
    assert area.store(1, page).headers["page-counts"] == "zero=0, same=1, compressed=0, raw=0"
    assert area.load(1) == page
    assert area.numbers()["same_filled_pages"] == 1


@pytest.mark.parametrize("page", pages.NEAR_MISSES.values(), ids=pages.NEAR_MISSES)
def test_near_misses_are_neither_zero_nor_same(area: Area, page: bytes) -> None:
    """A page that is one bit or word away from zero or same-filled is an ordinary page, and comes back whole."""
    area.store(1, page)
    assert area.load(1) == page
    numbers = area.numbers()
    assert (numbers["zero_pages"], numbers["same_filled_pages"], numbers["stored_pages"]) == (0, 0, 1)


@pytest.mark.smoke
def test_every_byte_value(area: Area) -> None:
    """Page bytes are bytes: all 256 values come back, 0x80 and above among them."""
    area.store(1, pages.every_byte_value())
    assert area.load(1) == pages.every_byte_value()


@pytest.mark.smoke
@pytest.mark.parametrize("before", pages.KINDS)
@pytest.mark.parametrize("after", pages.KINDS)
def test_overwrite_between_kinds(area: Area, before: str, after: str) -> None:
    """A store replaces a page of any kind by one of any kind, and the counts follow."""
    other = {**pages.of_each_kind(), "same": pages.same(b"othrword"), "compressed": pages.compressible(9)}
    area.store(5, KINDS[before])
    area.store(5, other[after])
    assert area.load(5) == other[after]
    numbers = area.numbers()
    assert numbers["stored_pages"] == 1
    assert numbers["zero_pages"] == int(after == "zero")
    assert numbers["same_filled_pages"] == int(after == "same")
    assert numbers["incompressible_pages"] == int(after == "raw")
    assert numbers["pool_bytes"] == int(area.head(5).headers["page-stored-length"])


@pytest.mark.smoke
@pytest.mark.parametrize("offset", [0, 1, 63, 64, 4095, 4096, 2**31, 2**32 + 5, 2**51 - 1])
def test_offsets_of_every_size(area: Area, offset: int) -> None:
    """0 ≤ offset < 2^63 / page_size, the last one included."""
    area.store(offset, KINDS["compressed"])
    assert area.load(offset) == KINDS["compressed"]


@pytest.mark.parametrize("type_", [0, 1, 2**31 - 1])
def test_types_of_every_size(service, type_: int) -> None:
    """A type is an integer 0 … 2^31-1, the ends included."""
    area = Area(service, type_)
    area.store(3, KINDS["raw"])
    assert area.load(3) == KINDS["raw"]
    area.drop()


def test_types_are_apart(areas) -> None:
    """The same offset of two types is two pages."""
    first, second = areas(), areas()
    first.store(1, KINDS["raw"])
    assert second.is_absent(1)
    second.store(1, KINDS["same"])
    assert first.load(1) == KINDS["raw"]


@pytest.mark.smoke
def test_real_pages(area: Area) -> None:
    """Real memory goes in and comes out the same, and the kinds are what the contract's words say."""
    real = pages.real(512)
    response = area.store(0, *real)
    assert response.headers["page-counts"] == pages.counts_header(real)
    assert area.load(0, 512) == b"".join(real)


@pytest.mark.parametrize("media_type", ["application/octet-stream", "Application/Octet-Stream"])
def test_media_type_is_case_insensitive(area: Area, media_type: str) -> None:
    """The body is application/octet-stream, in any case."""
    assert area.put(1, KINDS["raw"], headers={"Content-Type": media_type}).status_code == 204


def test_identity_encoding(area: Area) -> None:
    """Content-Encoding: identity is no other encoding."""
    assert area.put(1, KINDS["raw"], headers={"Content-Encoding": "identity"}).status_code == 204


def test_a_body_without_media_type_is_taken(area: Area) -> None:
    """Another media type is refused; none at all (as `curl -T` sends) is not another one."""
    response = area.client.put(area.url(1), content=KINDS["raw"])
    assert "content-type" not in response.request.headers
    assert response.status_code == 204
