"""The command that reads consecutive pages of a chunk, and its reply."""

from __future__ import annotations

from functools import cache

from app.store.chunk import BLOB_FIELDS, REST_FIELDS
from app.store.resp import bulk


def read_pages(key: bytes, index: int, count: int, *, with_times: bool = False) -> bytes:
    """HMGET, packed: the chunk's field "m", the pages' BLOB_FIELDS, their REST_FIELDS, and where asked for "g".

    Args:
        key: the chunk's.
        index: the first page's, in the chunk.
        count: how many pages.
        with_times: ask for the field "g" as well.
    """
    return template(index, count, with_times) % (len(key), key)


@cache
def template(index: int, count: int, with_times: bool = False) -> bytes:
    """The command, but for the key's length and the key.

    To pack 129 fields anew took a fiftieth of a load of 512 pages. There are 4160 of these, 2 MB in all.
    """
    here = slice(index, index + count)
    fields = (b"m", *BLOB_FIELDS[here], *REST_FIELDS[here], *((b"g",) if with_times else ()))
    return b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n%b" % (len(fields) + 2, b"".join(map(bulk, fields)))


def join_fields(reply: list[bytes | None], count: int) -> None:
    """Of a reply that has `count` pages' BLOB_FIELDS and then their REST_FIELDS behind the map, make one of blobs."""
    rests = reply[count + 1 : 2 * count + 1]
    del reply[count + 1 : 2 * count + 1]
    if rests.count(None) == count:
        return
    for place, rest in enumerate(rests, 1):
        if rest is not None and (blob := reply[place]) is not None:
            reply[place] = blob + rest
