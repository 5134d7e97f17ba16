"""Addresses and their malformed spellings (contract 1, 2.1)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import request

PAGE = pages.compressible(1)

MALFORMED = [
    "-1",
    "+1",
    "01",
    "00",
    "1.0",
    "1e3",
    "0x1",
    "1_0",
    "one",
    "1a",
    "a1",
    "\u0663",
    "\uff11",
    "\u00b2",
    "NaN",
    "null",
    "~",
]
HUGE = [2**63, 2**64, 10**19, 10**40, "9" * 3000]
LAST_OFFSET = 2**51 - 1
LAST_TYPE = 2**31 - 1


@pytest.mark.smoke
@pytest.mark.parametrize("spelling", [*MALFORMED, str(LAST_OFFSET + 1), *map(str, HUGE)])
def test_malformed_offsets(area: Area, spelling: str) -> None:
    """An offset that is malformed or out of range is 422 `bad_address` on every call."""
    page, frame = f"/v1/pages/{area.type}/{spelling}", f"/v1/frames/{area.type}/{spelling}"
    octets = {"Content-Type": "application/octet-stream"}
    check_problem(area.client.put(page, content=PAGE, headers=octets), 422, "bad_address", "kept")
    for response in (
        area.client.get(page),
        area.client.delete(page),
        area.client.post(f"{page}/take"),
        area.client.get(frame),
        area.client.put(frame, content=b"", headers=octets),
    ):
        check_problem(response, 422, "bad_address")
    assert area.client.head(page).status_code == 422


@pytest.mark.smoke
@pytest.mark.parametrize("spelling", [*MALFORMED, str(LAST_TYPE + 1), *map(str, HUGE)])
def test_malformed_types(area: Area, spelling: str) -> None:
    """A type that is malformed or out of range is 422 `bad_address` on every call."""
    octets = {"Content-Type": "application/octet-stream"}
    page = f"/v1/pages/{spelling}/1"
    check_problem(area.client.put(page, content=PAGE, headers=octets), 422, "bad_address", "kept")
    for response in (
        area.client.get(page),
        area.client.delete(page),
        area.client.post(f"{page}/take"),
        area.client.get(f"/v1/frames/{spelling}/1"),
        area.client.post(f"/v1/frames/{spelling}/load", json={"extents": [[1, 1]]}),
        area.client.post(f"/v1/pages/{spelling}/invalidate", json={"extents": [[1, 1]]}),
        area.client.post(f"/v1/pages/{spelling}/zero", json={"extents": [[1, 1]]}),
        area.client.get(f"/v1/types/{spelling}"),
        area.client.put(f"/v1/types/{spelling}", json={}),
        area.client.delete(f"/v1/types/{spelling}"),
        area.client.get(f"/v1/types/{spelling}/extents"),
        area.client.get(f"/v1/types/{spelling}/map?from=0&count=1&cells=1"),
    ):
        check_problem(response, 422, "bad_address")


@pytest.mark.smoke
@pytest.mark.parametrize(
    "tail",
    [
        "{type}/%31",
        "%31/1",
        "{type}/1%20",
        "{type}/%201",
        "{type}/1%00",
        "{type}/%00",
        "{type}/%2e%2e/1",
        "{type}/..%2f1",
        "{type}/1%2F",
        "{type}//1",
        "/{type}/1",
        "{type}/1/",
        "{type}/",
        "{type}",
        "{type}/./1",
        "{type}/x/../1",
        "{type}/1;a=b",
        "{type}/1%0d%0aX:1",
        "{type}/%EF%BC%91",
        "{type}/%ff",
        "{type}/%",
        "{type}/%3",
        "{type}/1%",
        "{type}/\xff",
        "{type}/1\\",
    ],
)
def test_path_tricks(area: Area, tail: str) -> None:
    """Percent-encoded, doubled, dotted and otherwise tricky paths are 404 or 422 (or no HTTP at all): no page's."""
    area.store(1, PAGE)
    target = "/v1/pages/" + tail.format(type=area.type)
    for method, body in (("GET", None), ("PUT", pages.incompressible(1)), ("DELETE", None)):
        with area.service.raw() as raw:
            raw.send(request(method, target, body))
            response = raw.read()
            assert response.status in {400, 404, 405, 422}
            if response.status != 400:
                check_problem(response, response.status)
    assert area.load(1) == PAGE


@pytest.mark.parametrize("body", [b"", PAGE, b"x" * 3000])
def test_an_address_is_checked_whatever_the_body(area: Area, body: bytes) -> None:
    """A malformed address is told before anything about the body."""
    with area.service.raw() as raw:
        raw.send(request("PUT", f"/v1/pages/{area.type}/x", body) + request("GET", "/livez"))
        check_problem(raw.read(), 422, "bad_address", "kept")


def test_offsets_in_answers_are_exact(area: Area) -> None:
    """All offsets in answers are absolute, and exact up to the last one."""
    last = LAST_OFFSET
    area.store(last, PAGE)
    assert check_problem(area.get(last - 2, count=3), 404)["missing"] == [[last - 2, 2]]
    response = area.get(last - 2, count=3, missing="zero")
    assert response.headers["page-missing"] == f"{last - 2}-{last - 1}"
    extents = area.client.get(f"{area.base}/extents", params={"from": last, "count": 1}).json()["extents"]
    assert extents == [{"offset": last, "count": 1, "state": "data"}]
