"""The command that reads pages of a chunk."""

from __future__ import annotations

import hiredis
import pytest

from app.store.page_reads import read_pages


@pytest.mark.parametrize(("index", "count"), [(0, 1), (63, 1), (0, 64), (5, 10)])
@pytest.mark.parametrize("with_times", [False, True])
def test_the_command(index: int, count: int, with_times: bool) -> None:
    """As hiredis packs it: the map, each page's two fields, and the times where they are asked for."""
    here = range(index, index + count)
    fields = [b"m", *(b"%d" % n for n in here), *(b"%dr" % n for n in here), *([b"g"] if with_times else [])]
    for key in (b"pp:p:{0}:1:2", b"another:p:{ff}:4000000000:12345"):
        assert read_pages(key, index, count, with_times=with_times) == hiredis.pack_command((b"HMGET", key, *fields))
