"""Reading the head of a plain page request; whatever is not plain is left to uvicorn.

The door answers what it surely understands: a well-formed HTTP/1.1 request for pages or frames, its body announced by
one Content-Length, with a token that is good for it. All else (chunked bodies, Expect, upgrades, odd spellings, other
paths, foreign browsers, wrong tokens) is declined here, so that one implementation alone, behind the ASGI door, decides
on odd requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from app.api.authorization import Authorization
from app.api.guards import AllowedHosts, check_request
from app.api.page_calls import (
    INSPECT,
    INVALIDATE,
    LOAD,
    LOAD_FRAMES,
    STORE,
    STORE_FRAMES,
    TAKE,
    Call,
    PageOperation,
    check_media_type,
)
from app.api.page_head import PageHead, read_head
from app.api.token_entries import Token
from app.errors import BadRequest, HeadTooLarge, PagepoolError

REQUEST_LINE: Final = re.compile(
    rb"(GET|PUT|HEAD|DELETE|POST) /v1/(pages|frames)/([0-9]{1,10})/([0-9]{1,19})(/take)?(?:\?([!-~]*))? HTTP/1\.1"
)
OPERATIONS: Final[dict[tuple[bytes, bytes, bytes | None], PageOperation]] = {
    (b"GET", b"pages", None): LOAD,
    (b"HEAD", b"pages", None): INSPECT,
    (b"PUT", b"pages", None): STORE,
    (b"DELETE", b"pages", None): INVALIDATE,
    (b"POST", b"pages", b"/take"): TAKE,
    (b"GET", b"frames", None): LOAD_FRAMES,
    (b"PUT", b"frames", None): STORE_FRAMES,
}

STORES: Final = frozenset({STORE, STORE_FRAMES})
"""The operations that have a body."""

_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD"})
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[!-~\x80-\xff][\t -~\x80-\xff]*)?)")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_NO_HEAD: Final = re.compile(rb"\A[^!#$%&'*+\-.^_`|~0-9A-Za-z]|(?<!\r)\n|\0")
_METHOD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) [!-~]+ HTTP/1\.[01]\r\n")
_KNOWN_METHODS: Final = frozenset(
    {b"GET", b"HEAD", b"PUT", b"POST", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"}
)
_METHOD_OF_NO_CALL: Final = b"PROPFIND"
_DECLINED: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer"})
_SINGLE: Final = frozenset({b"host", b"content-length", b"content-type", b"content-encoding", b"authorization"})
_REMEMBERED_BLOCKS: Final = 512
_REMEMBERED_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class FieldBlock:
    """The header fields of one request, read once: keep-alive clients send the same block again and again."""

    head: PageHead
    body_length: int
    keeps_alive: bool
    request_id: bytes | None
    authorization: bytes | None = field(repr=False)
    may_change: bool
    """Whether a browser guard would let this request change the pool."""
    is_plain_load: bool = False
    """Whether it may be the head of a load that asks for no more than the page."""
    is_plain_store: bool = False
    """Whether it may be the head of a store of one page without preconditions."""


def _is_page_body(head: PageHead) -> bool:
    try:
        check_media_type(head)
    except BadRequest:
        return False
    return not head.has_content_range


def fault_of_unfinished_head(buffer: bytes, max_bytes: int) -> PagepoolError | None:
    """Why no more of it needs to come; None: it may yet become the head of a request."""
    if _NO_HEAD.search(buffer):
        return BadRequest("This is no request of HTTP/1.1.")
    if len(buffer) > max_bytes:
        return HeadTooLarge("The request's head is too long.")
    return None


def with_known_method(buffer: bytes) -> bytes:
    """What is passed on: httptools takes no request of a method that it does not know, which gets a 405 nevertheless.

    So it goes as one that it knows, and that no call has.
    """
    match = _METHOD.match(buffer)
    if match is None or match[1] in _KNOWN_METHODS:
        return buffer
    return _METHOD_OF_NO_CALL + buffer[match.end(1) :]


class HeadReader:
    """Reads blocks of header fields, and remembers the short ones."""

    def __init__(self, allowed_hosts: AllowedHosts, authorization: Authorization | None, page_size: int) -> None:
        self._allowed_hosts = allowed_hosts
        self.authorization = authorization
        """None where no tokens are required."""
        self._page_size = page_size
        self.blocks: dict[bytes, FieldBlock | None] = {}
        """Those that are remembered, by their bytes, the empty line behind them included; None: declined."""

    def read_request(self, buffer: bytes, head_end: int) -> tuple[Call, FieldBlock, Token | None] | None:
        """The request whose head is buffer[:head_end], an empty line behind it, and its token; None declines it."""
        line_end = buffer.find(b"\r\n")
        match = REQUEST_LINE.fullmatch(buffer, 0, line_end)
        if match is None:
            return None
        fields = self._read_fields(buffer[line_end + 2 : head_end + 4])
        method, area, type_, offset, take, query = match.groups()
        operation = OPERATIONS.get((method, area, take))
        if fields is None or operation is None or not (fields.may_change or method in _SAFE_METHODS):
            return None
        if fields.body_length and operation not in STORES:
            return None
        token = None
        type_text = type_.decode()
        if self.authorization is not None:
            token = self.authorization.admit_page_call(fields.authorization, operation, int(type_))
            if token is None:
                return None
        return Call(operation, type_text, offset.decode(), query or b"", fields.head), fields, token

    def _read_fields(self, block: bytes) -> FieldBlock | None:
        try:
            return self.blocks[block]
        except KeyError:
            fields = self._parse(block)
            if len(block) <= _REMEMBERED_BYTES:
                if len(self.blocks) >= _REMEMBERED_BLOCKS:
                    self.blocks.clear()
                self.blocks[block] = fields
            return fields

    def _parse(self, block: bytes) -> FieldBlock | None:
        pairs: list[tuple[bytes, bytes]] = []
        single: dict[bytes, bytes] = {}
        keeps_alive = True
        request_id = None
        for line in block.split(b"\r\n")[:-2]:
            match = _FIELD.fullmatch(line)
            if match is None:
                return None
            name, value = match[1].lower(), match[2].rstrip(b" \t")
            if name in _DECLINED or name in single:
                return None
            if name in _SINGLE:
                single[name] = value
            elif name == b"connection":
                if value.lower() not in {b"close", b"keep-alive"}:
                    return None
                keeps_alive = keeps_alive and value.lower() == b"keep-alive"
            elif name == b"x-request-id" and request_id is None:
                request_id = value
            pairs.append((name, value))
        length = single.get(b"content-length", b"0")
        if not _LENGTH.fullmatch(length):
            return None
        try:
            check_request("GET", pairs, "1.1", self._allowed_hosts)
            head = read_head(pairs)
        except PagepoolError:
            return None
        may_change = self._may_change(pairs)
        is_plain = keeps_alive and not head.is_conditional
        return FieldBlock(
            head,
            int(length),
            keeps_alive,
            request_id,
            single.get(b"authorization"),
            may_change,
            is_plain_load=is_plain and length == b"0",
            is_plain_store=is_plain and may_change and int(length) == self._page_size and _is_page_body(head),
        )

    def _may_change(self, pairs: list[tuple[bytes, bytes]]) -> bool:
        try:
            check_request("PUT", pairs, "1.1", self._allowed_hosts)
        except PagepoolError:
            return False
        return True
