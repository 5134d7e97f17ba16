"""Every error that the client raises.

    PagepoolError
    ├── NoAnswer                   nothing came back, or not all of it; what became of a store is unknown
    │   ├── NotReachable           no connection: nothing was sent
    │   └── AnswerTimedOut
    ├── BrokenAnswer               an answer that breaks the protocol, or whose bytes fail their digest
    ├── NotWholePages              a file to import that is not a whole number of pages
    └── Problem                    the service said no: status, code, title, detail, previous, missing, …
        ├── BadRequest             4xx: the caller errs, nothing was changed
        │   ├── BadAddress, BadPageLength, BadFrame, BadBody, BadHeader, BadParameter
        │   ├── ExtentTooLarge, RangeTooLarge, UnsupportedMediaType, RangeNotSatisfiable
        │   ├── PreconditionFailed, Unauthorized, Forbidden, RequestTimeout, HeadTooLarge
        │   ├── NotFound, MethodNotAllowed
        │   ├── PageMissing        with `missing`
        │   └── TypeUnknown, NoImage
        ├── Refused                the pool will not take the page; the older copy is gone
        │   └── PoolFull, TypeFull, MetadataFull, BackendFull, StoresDisabled
        ├── Overloaded             nothing was changed; try again after `retry_after`
        ├── BackendUnavailable     Redis is out of reach
        │   └── NotReplicated, PagesLost
        └── PageCorrupt, InternalError

A class is chosen by the problem's `code`; a code that is not known here becomes BadRequest or Problem by its status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class PagepoolError(Exception):
    """The root of all that the client raises."""


class NoAnswer(PagepoolError):
    """The connection was cut before the whole answer came. A store may or may not have taken effect."""


class NotReachable(NoAnswer):
    """There is no service at the address; nothing was sent."""


class AnswerTimedOut(NoAnswer):
    """No byte came, or could be sent, within the time-out."""


class BrokenAnswer(PagepoolError):
    """An answer that breaks the protocol, or whose bytes fail their digest."""


class NotWholePages(PagepoolError):
    """A file that is not a whole number of pages."""


class Problem(PagepoolError):
    """A problem document (RFC 9457) that the service answered with.

    `previous` says what became of what was at the address before a store: kept, invalidated, unknown; None where the
    call was no store. `missing` and `rejected` are runs `(offset, count)`; `stored` counts pages of an extent that was
    partly refused. `retry_after`, in seconds, is None where the call must not be repeated.
    """

    code_handled: ClassVar[str] = ""

    def __init__(
        self,
        status: int,
        members: Mapping[str, Any],
        *,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        self.status = status
        self.members = dict(members)
        self.code = str(members.get("code", ""))
        self.title = str(members.get("title") or f"HTTP status {status}")
        self.detail = str(members.get("detail") or self.title)
        previous = members.get("previous")
        self.previous: str | None = None if previous is None else str(previous)
        self.missing = _runs(members.get("missing"))
        self.rejected = _runs(members.get("rejected"))
        stored = members.get("stored")
        self.stored: int | None = stored if isinstance(stored, int) else None
        self.retry_after = retry_after
        self.request_id = request_id
        super().__init__(f"{self.detail} [{self.code or status}]")


def _runs(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, Sequence):
        return ()
    return tuple((int(offset), int(count)) for offset, count in value)


class BadRequest(Problem):
    """The caller errs; nothing was changed."""


class BadAddress(BadRequest):
    """Type, offset or count out of range, or an extent past the last offset."""

    code_handled = "bad_address"


class BadPageLength(BadRequest):
    """A body that is not a whole number of pages."""

    code_handled = "bad_page_length"


class BadFrame(BadRequest):
    """A body of frames that does not decode; nothing of it was stored."""

    code_handled = "bad_frame"


class BadBody(BadRequest):
    """A body that ended early, or is not the JSON that it should be."""

    code_handled = "bad_body"


class BadHeader(BadRequest):
    """A header that cannot be honoured on this call."""

    code_handled = "bad_header"


class BadParameter(BadRequest):
    """A field with a value out of its range."""

    code_handled = "bad_parameter"


class ExtentTooLarge(BadRequest):
    """More pages than `max_extent_pages`."""

    code_handled = "extent_too_large"


class RangeTooLarge(BadRequest):
    """More pages named than one request may name, or bytes past an image's end."""

    code_handled = "range_too_large"


class UnsupportedMediaType(BadRequest):
    """A media type or content encoding that the call does not take."""

    code_handled = "unsupported_media_type"


class RangeNotSatisfiable(BadRequest):
    """A range that starts past an image's end."""

    code_handled = "range_not_satisfiable"


class PreconditionFailed(BadRequest):
    """The page is not what If-Match or If-None-Match asked for; nothing was changed."""

    code_handled = "precondition_failed"


class Unauthorized(BadRequest):
    """No token, or one that the service does not know."""

    code_handled = "unauthorized"


class Forbidden(BadRequest):
    """A token without the right, a foreign origin, or a host that is not allowed."""

    code_handled = "forbidden"


class RequestTimeout(BadRequest):
    """The request made no progress for too long."""

    code_handled = "request_timeout"


class HeadTooLarge(BadRequest):
    """A request head longer than the service takes."""

    code_handled = "head_too_large"


class NotFound(BadRequest):
    """No such path: most likely the URL is not that of a Pagepool service."""

    code_handled = "not_found"


class MethodNotAllowed(BadRequest):
    """A path that does not take this method."""

    code_handled = "method_not_allowed"


class PageMissing(BadRequest):
    """At least one page asked for is absent; `missing` lists the runs."""

    code_handled = "page_missing"


class TypeUnknown(BadRequest):
    """A type that holds no page and has no configuration."""

    code_handled = "type_unknown"


class NoImage(BadRequest):
    """A type without `image_bytes`."""

    code_handled = "no_image"


class Refused(Problem):
    """The pool will not take the page, and what was at the address is gone."""


class PoolFull(Refused):
    """The pool reached its limit, and has not yet fallen to its accept threshold."""

    code_handled = "pool_full"


class TypeFull(Refused):
    """The type reached a limit of its own."""

    code_handled = "type_full"


class MetadataFull(Refused):
    """The pool holds as many pages as it may."""

    code_handled = "metadata_full"


class BackendFull(Refused):
    """Redis refused the page for lack of memory."""

    code_handled = "backend_full"


class StoresDisabled(Refused):
    """The tunable `enabled` is false."""

    code_handled = "stores_disabled"


class Overloaded(Problem):
    """The service has all the work that it may hold; nothing was changed."""

    code_handled = "overloaded"


class BackendUnavailable(Problem):
    """Redis is out of reach; unknown what became of a store."""

    code_handled = "backend_unavailable"


class NotReplicated(BackendUnavailable):
    """Fewer replicas than asked for have the store."""

    code_handled = "not_replicated"


class PagesLost(BackendUnavailable):
    """The backend lost pages of an image; an operator has to accept that."""

    code_handled = "pages_lost"


class PageCorrupt(Problem):
    """What is stored failed its check; `members["corrupt"]`, where present, lists the runs."""

    code_handled = "page_corrupt"


class InternalError(Problem):
    """A defect of the service."""

    code_handled = "internal_error"


def _leaves(root: type[Problem]) -> list[type[Problem]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _leaves(child))]


BY_CODE: dict[str, type[Problem]] = {cls.code_handled: cls for cls in _leaves(Problem) if cls.code_handled}
"""Which class a problem's `code` becomes."""


def problem_class(status: int, code: str) -> type[Problem]:
    """The class for a problem document."""
    fallback = BadRequest if 400 <= status < 500 else Problem  # noqa: PLR2004 - the HTTP status classes
    return BY_CODE.get(code, fallback)
