"""What of HTTP an image's calls honour beyond ranges."""

import pytest

from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.image.images import content, put_whole


@pytest.mark.smoke
def test_put_only_where_there_is_none(area: Area) -> None:
    """`If-None-Match: *` makes an image, and never replaces one."""
    only_new = {"If-None-Match": "*"}
    assert area.client.put(area.image, content=b"first", headers=only_new).status_code == 204
    response = area.client.put(area.image, content=b"second", headers=only_new)
    check_problem(response, 412, "precondition_failed", "kept")
    part = {"Content-Range": "bytes 0-1/*", **only_new}
    check_problem(area.client.put(area.image, content=b"xx", headers=part), 412, "precondition_failed", "kept")
    assert content(area) == b"first"
    assert area.client.get(area.image, headers=only_new).status_code == 304
    assert area.client.get(area.image, headers={"Range": "bytes=0-1", **only_new}).status_code == 304


def test_replace_only_what_is_there(area: Area) -> None:
    """`If-Match: *` replaces an image, and never makes one; no tag matches, as an image has none."""
    only_old = {"If-Match": "*"}
    check_problem(area.client.put(area.image, content=b"x", headers=only_old), 412, "precondition_failed", "kept")
    assert area.client.get(area.base).status_code == 404
    put_whole(area, b"first")
    assert area.client.put(area.image, content=b"second", headers=only_old).status_code == 204
    for headers in ({"If-Match": '"0123456789abcdef"'}, {"If-Match": '""'}):
        check_problem(area.client.put(area.image, content=b"x", headers=headers), 412, "precondition_failed", "kept")
        check_problem(area.client.get(area.image, headers=headers), 412, "precondition_failed")
    assert content(area) == b"second"


def test_encoded_bodies(area: Area) -> None:
    """Compressed bytes are refused: they would be written as they are."""
    response = area.client.put(area.image, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    check_problem(response, 415, "unsupported_media_type", "kept")
    assert area.client.put(area.image, content=b"as it is", headers={"Content-Encoding": "identity"}).status_code == 204


def test_head_knows_no_ranges(area: Area) -> None:
    """Range is for GET (RFC 9110, 14.2): HEAD tells of the whole."""
    put_whole(area, bytes(5000))
    response = area.client.head(area.image, headers={"Range": "bytes=0-9"})
    assert (response.status_code, response.headers["content-length"]) == (200, "5000")
    assert "content-range" not in response.headers


@pytest.mark.smoke
def test_a_configuration_keeps_its_other_fields(area: Area) -> None:
    """Replacing an image changes nothing of the type's configuration but the size."""
    area.configure(image_bytes=77)
    before = area.show()["configuration"]
    put_whole(area, b"12345")
    assert area.show()["configuration"] == {**before, "image_bytes": 5}


def test_loads_are_counted(area: Area) -> None:
    """What a read finds is counted as loads, by kind; holes are neither hit nor miss."""
    area.configure(image_bytes=100 * 4096)
    area.store(3, bytes(4096), b"12345678" * 512)
    before = area.service.metrics()
    assert len(content(area)) == 100 * 4096
    assert area.service.metrics().since(before) == {"loads.hit_zero": 1, "loads.hit_same": 1}
