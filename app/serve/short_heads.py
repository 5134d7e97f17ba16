"""What the heads of plain answers for one page have in common; made anew with each Date."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.api.answer import PAGE_HEADERS
from app.api.guards import RequestIds
from app.api.page_calls import COUNTS_OF_ONE, KIND_WORDS, LOAD, STORE, PageOperation
from app.page.classify import Kind

DefaultHeaders = list[tuple[bytes, bytes]]
"""What uvicorn adds to every answer; it makes the list anew once a second, for its Date."""

HeadParts = tuple[bytes, Sequence[bytes], Callable[[], bytes]]
"""What stands before a page's digest; behind it, for each kind; and what gives a fresh id and the empty line behind."""


def render(headers: DefaultHeaders) -> bytes:
    """Header lines."""
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)


class ShortHeads:
    """The heads of a worker."""

    def __init__(self, page_size: int, ids: RequestIds) -> None:
        end = b'"\r\npage-kind: %b\r\ncontent-length: %d\r\nx-request-id: '
        self._ids = ids
        self._loaded = [end % (KIND_WORDS[kind], page_size) for kind in Kind]
        self._stored = [b'"\r\n%b: %b\r\nx-request-id: ' % COUNTS_OF_ONE[kind] for kind in Kind]
        self._made_for: DefaultHeaders | None = None
        self._parts: dict[PageOperation, HeadParts] = {}

    def parts(self, operation: PageOperation, headers: DefaultHeaders) -> HeadParts:
        """Those of the answers to a load or a store of one page."""
        if headers is not self._made_for:
            self._made_for = headers
            lines, next_id = render(headers), self._ids.rendered.__next__
            loaded = b"".join((b"HTTP/1.1 200 OK\r\n", lines, PAGE_HEADERS.rendered, b'etag: "'))
            stored = b"".join((b"HTTP/1.1 204 No Content\r\n", lines, b'etag: "'))
            self._parts = {LOAD: (loaded, self._loaded, next_id), STORE: (stored, self._stored, next_id)}
        return self._parts[operation]
