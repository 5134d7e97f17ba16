"""A type as a disk image over HTTP: byte ranges in and out, for tools that already exist (contract 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Header, Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import TypePath
from app.api.image_calls import read, write
from app.api.openapi import binary_request, binary_response, empty_response, problem_responses
from app.errors import (
    BackendFull,
    BackendUnavailable,
    BadAddress,
    BadHeader,
    MetadataFull,
    NoImage,
    NotReplicated,
    PageCorrupt,
    PagesLost,
    PoolFull,
    PreconditionFailed,
    RangeNotSatisfiable,
    RangeTooLarge,
    StoresDisabled,
    TypeFull,
    UnsupportedMediaType,
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

RangeHeader = Annotated[str | None, Header(alias="range", description="One range of bytes; several: the whole.")]
IfRange = Annotated[str | None, Header(description="An image has no validator: the whole is answered.")]
ContentRange = Annotated[
    str | None, Header(description="`bytes START-END/*`: write at START. Left out: replace the image.")
]
IfMatch = Annotated[str | None, Header(description="`*`: only if there is an image. Tags never match.")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only if there is no image.")]

_PATH: Final = "/v1/types/{type}/image"
_ATTRIBUTE: Final = "image_handler"
_READ_ERRORS: Final = (BadAddress, BadHeader, NoImage, PreconditionFailed, PagesLost, BackendUnavailable)


class ImageRoute(APIRoute):
    """A route whose endpoint only describes; the handler that `handled_by` names runs."""

    def get_route_handler(self) -> Handler:
        """The handler that FastAPI installs for the route."""
        handler: Handler = getattr(self.endpoint, _ATTRIBUTE)
        return handler


def handled_by(handler: Handler) -> Callable[[Endpoint], Endpoint]:
    """Say which handler runs for a described endpoint."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, handler)
        return endpoint

    return mark


router = APIRouter(route_class=ImageRoute)


@router.get(
    _PATH,
    operation_id="read_image",
    summary="Read a disk image",
    tags=["image"],
    response_class=Response,
    responses={
        200: binary_response("The whole image.", "Content-Length", "Accept-Ranges", "Cache-Control"),
        206: binary_response(
            "The range, clamped at the image's end.",
            "Content-Range",
            "Content-Length",
            "Accept-Ranges",
            "Cache-Control",
        ),
        304: empty_response("There is an image, and If-None-Match is `*`."),
        **problem_responses(*_READ_ERRORS, RangeNotSatisfiable, PageCorrupt),
    },
)
@handled_by(read)
async def read_image(
    type: TypePath,  # noqa: A002 - the word of the API
    range: RangeHeader = None,  # noqa: A002 - the header's name
    if_range: IfRange = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """The image has `image_bytes` bytes; holes read as zeros.

    It is streamed: the connection is cut, and nothing padded, where a page is corrupt or Redis is lost on the way.
    """


@router.head(
    _PATH,
    operation_id="inspect_image",
    summary="Size of a disk image",
    tags=["image"],
    response_class=Response,
    responses={
        200: empty_response("There is an image.", "Content-Length", "Accept-Ranges", "Cache-Control"),
        304: empty_response("There is an image, and If-None-Match is `*`."),
        **problem_responses(*_READ_ERRORS),
    },
)
@handled_by(read)
async def inspect_image(
    type: TypePath,  # noqa: A002 - the word of the API
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """`Content-Length` is the image's size."""


@router.put(
    _PATH,
    operation_id="write_image",
    summary="Write a disk image",
    tags=["image"],
    status_code=204,
    response_class=Response,
    responses={
        204: empty_response("Written."),
        **problem_responses(
            *(BadAddress, BadHeader, NoImage, PreconditionFailed, RangeTooLarge, UnsupportedMediaType),
            *(StoresDisabled, BackendUnavailable, NotReplicated, PagesLost),
            *(PoolFull, TypeFull, MetadataFull, BackendFull, PageCorrupt),
            is_store=True,
        ),
    },
    openapi_extra=binary_request("The bytes, of any length and Content-Type."),
)
@handled_by(write)
async def write_image(
    type: TypePath,  # noqa: A002 - the word of the API
    content_range: ContentRange = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Writes at the START of Content-Range, whatever its alignment; without one, replaces the image and sets its size.

    Each page is atomic by itself, also where several clients write parts of it. A refused page is as it was.
    """
