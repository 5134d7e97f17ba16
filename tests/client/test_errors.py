from __future__ import annotations

import inspect

import pytest
from pagepool_client import (
    NO_RETRIES,
    BadRequest,
    BrokenAnswer,
    Client,
    PageMissing,
    PreconditionFailed,
    Problem,
    TypeUnknown,
    Unauthorized,
    errors,
)

import app.errors
from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService


@pytest.fixture
def client(fake: FakeService) -> Client:
    with Client(fake.url, retries=NO_RETRIES) as client:
        yield client


def test_every_code_of_the_service_has_a_class() -> None:
    """No error that the service can answer with is left without a type."""
    codes = {
        cls.code
        for _, cls in inspect.getmembers(app.errors, inspect.isclass)
        if issubclass(cls, app.errors.PagepoolError) and cls is not app.errors.BadRequest
    }
    abstract = {cls.code for cls in (app.errors.Refused, app.errors.PagepoolError)}
    assert codes - abstract <= errors.BY_CODE.keys()


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_a_code_becomes_its_class(fake: FakeService, client: Client, code: str) -> None:
    """A problem's `code` chooses the class, and its members are attributes."""
    fake.answer_next(418, {"code": code, "title": "T", "detail": "D", "previous": "kept", "extra": 1}, x_request_id="r")
    with pytest.raises(errors.BY_CODE[code]) as caught:
        client.load(1, 0)
    error = caught.value
    assert (type(error), error.status, error.code, error.title, error.detail) == (
        errors.BY_CODE[code], 418, code, "T", "D",
    )  # fmt: skip
    assert (error.previous, error.members["extra"], error.request_id) == ("kept", 1, "r")


def test_unknown_codes(fake: FakeService, client: Client) -> None:
    """A code that this version does not know is told by its status."""
    fake.answer_next(422, {"code": "brand_new"})
    with pytest.raises(BadRequest, match="brand_new"):
        client.load(1, 0)
    fake.answer_next(502, None, b"<html>Bad gateway</html>", content_type="text/html")
    with pytest.raises(Problem, match="502"):
        client.load(1, 0)


def test_missing_runs(pool: Client, area: int) -> None:
    """A load of absent pages says which are missing, in absolute offsets."""
    pool.store(area, 11, b"x" * PAGE_SIZE)
    with pytest.raises(PageMissing) as caught:
        pool.load_extent(area, 10, 4)
    assert caught.value.missing == ((10, 1), (12, 2))
    with pytest.raises(PageMissing) as caught:
        pool.head(area, 10)
    assert caught.value.missing == ((10, 1),)


def test_type_unknown(pool: Client, area: int) -> None:
    """A type that holds nothing is an error of its own."""
    with pytest.raises(TypeUnknown):
        pool.type(area)


def test_preconditions(pool: Client, area: int) -> None:
    """A store under If-None-Match: * succeeds once."""
    pool.store(area, 0, b"x" * PAGE_SIZE, if_none_match="*")
    with pytest.raises(PreconditionFailed):
        pool.store(area, 0, b"y" * PAGE_SIZE, if_none_match="*")


def test_token(fake: FakeService) -> None:
    """The token goes out as a bearer token; a wrong one is Unauthorized, and in no repr."""
    fake.token = "open sesame"
    with Client(fake.url, token="open sesame") as client:
        assert client.page_size == PAGE_SIZE
        assert "sesame" not in repr(client)
    with Client(fake.url, token="wrong") as client, pytest.raises(Unauthorized):
        client.pool()


def test_a_page_that_does_not_match_its_etag(fake: FakeService, client: Client) -> None:
    """Bytes that were damaged on the way are never handed out."""
    fake.answer_next(200, None, b"x" * PAGE_SIZE, etag='"0123456789abcdef"')
    with pytest.raises(BrokenAnswer, match="ETag"):
        client.load(1, 0)


def test_what_is_not_a_pagepool(fake: FakeService, client: Client) -> None:
    """Another service at the address is told apart from a broken pool."""
    fake.answer_next(200, None, b"<html>It works!</html>", content_type="text/html")
    with pytest.raises(BrokenAnswer, match="not a Pagepool service"):
        _ = client.layout


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "ftp://x", "unix:relative", "unix:/a\0b", ""),
        *("http://", "http:///path", "http://[::1", "http://a..b:1", "http://a:0", "http://a:65536", "http://a:-1"),
        *("http://a?b=c", "http://a#b", "http://a?", "http://user:word@a"),
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    """An address that cannot be one is refused when the client is made."""
    with pytest.raises(ValueError, match="is not an address"):
        Client(url)


def test_header_injection(client: Client) -> None:
    """A token with a line break cannot add a header, nor can an ETag; and no error shows the other headers."""
    with pytest.raises(ValueError, match="line breaks"):
        Client("http://127.0.0.1:9", token="a\r\nX-Evil: 1")
    for etag in ('"a"\r\nX-Evil: 1', '"\u20ac"'):
        with pytest.raises(ValueError, match=r"^The header If-Match is to be printable ASCII\.$"):
            client.store(1, 0, bytes(PAGE_SIZE), if_match=etag)
