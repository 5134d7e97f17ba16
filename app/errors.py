"""Every error that the service answers with; a stable `code` each.

    PagepoolError
    ├── BadRequest                 the caller errs; nothing changed
    │   ├── BadAddress             422  type, offset or count out of range or malformed
    │   ├── BadPageLength          400  a body that is not k × page_size
    │   ├── BadFrame               400  a frame that does not decode
    │   ├── BadBody, BadHeader     400  JSON, a Content-Range, a cut body
    │   ├── BadParameter           422  a field's value, or a precondition on an extent
    │   ├── ExtentTooLarge         413
    │   ├── RangeTooLarge          413
    │   ├── UnsupportedMediaType   415
    │   ├── RangeNotSatisfiable    416
    │   ├── PreconditionFailed     412
    │   ├── Unauthorized           401
    │   ├── Forbidden              403
    │   ├── RequestTimeout         408
    │   ├── NotFound               404, MethodNotAllowed 405
    │   ├── PageMissing            404  with `missing`
    │   ├── TypeUnknown, NoImage   404
    │   └── HeadTooLarge           431
    ├── Refused                    the pool will not take the page; the older copy is gone (the stale-copy rule)
    │   ├── PoolFull               507  with Retry-After
    │   ├── TypeFull               507  with Retry-After
    │   ├── MetadataFull           507
    │   ├── BackendFull            507  with Retry-After: Redis lacks memory
    │   └── StoresDisabled         503
    ├── Overloaded                 503  with Retry-After; nothing changed
    ├── BackendUnavailable         503  with Retry-After: Redis is out of reach; unknown what became of a store
    │   ├── NotReplicated          503
    │   └── PagesLost              503  an image's pages are gone from the backend
    ├── PageCorrupt                500  a blob failed its check; kept for inspection
    └── InternalError              500

What became of the older copy (`previous`) is a property of the class; an image write, to which the stale-copy rule does
not apply, overrides it on the instance.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Previous(StrEnum):
    """What became of the page that was at the address before a store failed."""

    KEPT = "kept"
    INVALIDATED = "invalidated"
    UNKNOWN = "unknown"


class PagepoolError(Exception):
    """The root: a status, a stable code, a title, and members of its own for the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after_seconds: ClassVar[int | None] = None
    previous: Previous | None = None
    close_connection: ClassVar[bool] = False

    def __init__(self, detail: str = "", /, **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members = members
        self.headers: dict[str, str] = {}


class BadRequest(PagepoolError):
    """The caller errs; nothing was changed."""

    status = 400
    code = "bad_request"
    title = "Bad request"
    previous = Previous.KEPT


class BadAddress(BadRequest):
    """Type, offset or count out of range or malformed, or an extent past the last offset."""

    status = 422
    code = "bad_address"
    title = "Bad address"


class BadPageLength(BadRequest):
    """A body whose length is not k × page_size."""

    code = "bad_page_length"
    title = "Body is not a whole number of pages"


class BadFrame(BadRequest):
    """A body of frames that does not decode; nothing of it is stored."""

    code = "bad_frame"
    title = "Bad frame"


class BadBody(BadRequest):
    """A body that ended early, or is not the JSON that it should be."""

    code = "bad_body"
    title = "Bad body"


class BadHeader(BadRequest):
    """A header that cannot be honoured on this call."""

    code = "bad_header"
    title = "Bad header"


class BadParameter(BadRequest):
    """A field with a value out of its range."""

    status = 422
    code = "bad_parameter"
    title = "Bad parameter"


class ExtentTooLarge(BadRequest):
    """More pages in one request than `max_extent_pages`."""

    status = 413
    code = "extent_too_large"
    title = "Extent too large"
    close_connection = True


class RangeTooLarge(BadRequest):
    """More pages named than one request may name, or bytes past an image's end."""

    status = 413
    code = "range_too_large"
    title = "Range too large"


class UnsupportedMediaType(BadRequest):
    """A media type or content encoding that this call does not take."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class RangeNotSatisfiable(BadRequest):
    """A Range that starts past the image's end."""

    status = 416
    code = "range_not_satisfiable"
    title = "Range not satisfiable"


class PreconditionFailed(BadRequest):
    """If-Match or If-None-Match did not hold."""

    status = 412
    code = "precondition_failed"
    title = "Precondition failed"


class Unauthorized(BadRequest):
    """No token, or one that is not known."""

    status = 401
    code = "unauthorized"
    title = "Unauthorized"


class Forbidden(BadRequest):
    """A token without the right, a foreign origin, or a host that is not allowed."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class RequestTimeout(BadRequest):
    """The request made no progress for too long."""

    status = 408
    code = "request_timeout"
    title = "Request timed out"
    close_connection = True


class NotFound(BadRequest):
    """No such path."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(BadRequest):
    """A path that does not take this method; `Allow` says which it takes."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class PageMissing(BadRequest):
    """At least one page asked for is absent; `missing` lists the runs, offsets absolute."""

    status = 404
    code = "page_missing"
    title = "Page missing"


class TypeUnknown(BadRequest):
    """A type that holds no page and has no configuration."""

    status = 404
    code = "type_unknown"
    title = "Type unknown"


class NoImage(BadRequest):
    """A type without `image_bytes`."""

    status = 404
    code = "no_image"
    title = "Type has no image"


class HeadTooLarge(BadRequest):
    """A request line or headers longer than `max_header_bytes`."""

    status = 431
    code = "head_too_large"
    title = "Request head too large"
    close_connection = True


class Refused(PagepoolError):
    """The pool will not take the page, and what was at the address is gone: the stale-copy rule."""

    status = 507
    previous = Previous.INVALIDATED


class PoolFull(Refused):
    """`pool_bytes` reached `max_pool_bytes`, and has not yet fallen to the accept threshold."""

    code = "pool_full"
    title = "Pool full"
    retry_after_seconds = 1


class TypeFull(Refused):
    """The type reached its own `max_pool_bytes`."""

    code = "type_full"
    title = "Type full"
    retry_after_seconds = 1


class MetadataFull(Refused):
    """`stored_pages` reached `max_stored_pages`."""

    code = "metadata_full"
    title = "Too many pages"


class BackendFull(Refused):
    """Redis refused the page for lack of memory."""

    code = "backend_full"
    title = "Redis is out of memory"
    retry_after_seconds = 1


class StoresDisabled(Refused):
    """The tunable `enabled` is false."""

    status = 503
    code = "stores_disabled"
    title = "Stores are disabled"


class Overloaded(PagepoolError):
    """A bound on connections, requests or bytes in flight is reached."""

    status = 503
    code = "overloaded"
    title = "Overloaded"
    retry_after_seconds = 1
    previous = Previous.KEPT


class BackendUnavailable(PagepoolError):
    """Redis is out of reach, too slow, loading, read-only or failing over."""

    status = 503
    code = "backend_unavailable"
    title = "Redis is out of reach"
    retry_after_seconds: ClassVar[int | None] = 1
    previous = Previous.UNKNOWN


class NotReplicated(BackendUnavailable):
    """Fewer replicas than `PAGEPOOL_STORE_REPLICAS` have the store."""

    code = "not_replicated"
    title = "Not replicated"


class PagesLost(BackendUnavailable):
    """The backend lost pages of an image; reads stay refused until an operator accepts the loss."""

    code = "pages_lost"
    title = "Pages lost"
    retry_after_seconds = None


class PageCorrupt(PagepoolError):
    """A blob failed its check (address, checksum, length, decode); it is kept for inspection."""

    code = "page_corrupt"
    title = "Page corrupt"
    previous = Previous.KEPT


class InternalError(PagepoolError):
    """A defect of the service; the log has the traceback."""
