"""What one may ask next of the same page or type: OpenAPI links, for readers, and for tools that walk along them."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

_TYPE: Final = {"type": "$request.path.type"}
_PAGE: Final = {**_TYPE, "offset": "$request.path.offset"}

_FIRST_PAGE: Final = {**_TYPE, "offset": "$request.body#/extents/0/0"}

_LINKS: Final[dict[tuple[str, str], tuple[tuple[str, ...], dict[str, str]]]] = {
    ("store_pages", "204"): (
        ("load_pages", "inspect_pages", "invalidate_pages", "take_page", "load_frames"),
        _PAGE,
    ),
    ("load_pages", "200"): (("take_page", "invalidate_pages"), _PAGE),
    ("take_page", "200"): (("load_pages",), _PAGE),
    ("invalidate_pages", "204"): (("load_pages",), _PAGE),
    ("store_frames", "204"): (("load_frames", "load_pages"), _PAGE),
    ("load_frames", "200"): (("load_pages",), _PAGE),
    ("zero_extents", "200"): (("load_pages", "store_pages", "take_page", "store_frames"), _FIRST_PAGE),
    ("configure_type", "200"): (("get_type", "write_image", "read_image", "delete_type"), _TYPE),
    ("write_image", "204"): (("read_image", "inspect_image", "get_type_extents"), _TYPE),
    ("get_type", "200"): (("get_type_extents", "get_type_map", "delete_type"), _TYPE),
    ("delete_type", "204"): (("get_type",), _TYPE),
}
"""By an operation and the status of its answer: the operations that may follow, and what they take from the request."""


def add_links(document: Json) -> None:
    """Add them to a document whose operations are whole.

    Raises:
        KeyError: an operation, or the answer of one, does not exist.
    """
    operations: dict[str, Json] = {
        operation["operationId"]: operation for methods in document["paths"].values() for operation in methods.values()
    }
    for (source, status), (targets, parameters) in _LINKS.items():
        operations[source]["responses"][status]["links"] = {
            target: {"operationId": operations[target]["operationId"], "parameters": dict(parameters)}
            for target in targets
        }
