"""Types: list, show, configure, delete (contract 2.3)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import pages
from tests.harness.area import NUMBERS, Area
from tests.harness.problems import check_problem

BODY = pages.mixed(100, seed=31)


def listed(area: Area) -> dict[int, dict]:
    found, after = {}, None
    while True:
        query = {"limit": 100} | ({} if after is None else {"after": after})
        answer = area.client.get("/v1/types", params=query).json()
        found |= {each["type"]: each for each in answer["types"]}
        after = answer["next"]
        if after is None:
            return found


@pytest.mark.smoke
def test_show(area: Area) -> None:
    """A type shows its counts, bytes, ratio and configuration, and they are the truth."""
    area.store(0, *BODY)
    shown = area.show()
    counts = pages.counts_of(BODY)
    stored_length = sum(int(area.head(offset).headers["page-stored-length"]) for offset in range(100))
    assert shown["type"] == area.type
    assert shown["stored_pages"] == 100
    assert shown["zero_pages"] == counts["zero"]
    assert shown["same_filled_pages"] == counts["same"]
    assert shown["compressed_pages"] == counts["compressed"]
    assert shown["incompressible_pages"] == counts["raw"]
    assert shown["pool_bytes"] == stored_length
    assert shown["logical_bytes"] == 100 * 4096
    assert shown["compression_ratio"] == pytest.approx(100 * 4096 / stored_length, rel=0.01)
    assert shown["configuration"]["image_bytes"] is None


@pytest.mark.smoke
def test_an_unknown_type(area: Area) -> None:
    """A type that holds nothing and has no configuration is 404."""
    check_problem(area.client.get(area.base), 404, "type_unknown")
    area.store(0, BODY[0])
    area.delete(0)
    check_problem(area.client.get(area.base), 404, "type_unknown")


@pytest.mark.smoke
def test_list(areas) -> None:
    """The list has those types that hold pages or have a configuration, in ascending order."""
    held, configured, nothing = areas(), areas(), areas()
    held.store(0, *BODY[:10])
    assert configured.configure(image_bytes=4096).status_code == 200
    types = listed(held)
    assert held.type in types
    assert configured.type in types
    assert nothing.type not in types
    assert types[held.type] == held.show()
    assert types[configured.type] == configured.show()
    assert list(types) == sorted(types)


def test_list_in_parts(areas) -> None:
    """`after` and `limit` walk the list in parts, each type once."""
    made = [areas() for _ in range(7)]
    for each in made:
        each.store(0, pages.zero())
    numbers = [each.type for each in made]
    client, seen, after = made[0].client, [], numbers[0] - 1
    while True:
        answer = client.get("/v1/types", params={"after": after, "limit": 3}).json()
        assert len(answer["types"]) <= 3
        seen += [each["type"] for each in answer["types"]]
        if answer["next"] is None:
            break
        after = answer["next"]
    assert [number for number in seen if number in numbers] == numbers
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1e9", "after=-1", "after=x", "limit=100000000"]
)
def test_malformed_lists(client, query: str) -> None:
    """A malformed `after` or `limit` is refused."""
    response = client.get(f"/v1/types?{query}")
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)


@pytest.mark.smoke
def test_configure(area: Area) -> None:
    """PUT sets a type's configuration, which is shown and can be changed."""
    for size in (0, 1, 4096, 123_456_789, 2**53 - 1):
        response = area.configure(image_bytes=size)
        assert response.status_code == 200
        assert area.show()["configuration"]["image_bytes"] == size
    assert area.show()["stored_pages"] == 0


@pytest.mark.parametrize("value", [-1, 2**53, 2**63, 1.5, "4096", True, [1], {}])
def test_malformed_configurations(area: Area, value) -> None:
    """A configuration out of range is refused, and nothing is configured."""
    response = area.configure(image_bytes=value)
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)
    check_problem(area.client.get(area.base), 404, "type_unknown")


def test_unknown_members_of_a_configuration(area: Area) -> None:
    """A member that the configuration does not have is refused rather than lost."""
    response = area.configure(image_bites=4096)
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"1", b'{"image_bytes": 1', b'{"image_bytes": NaN}']
)
def test_a_configuration_is_json(area: Area, body: bytes) -> None:
    """A configuration that is no JSON object is refused."""
    response = area.client.put(area.base, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)
    check_problem(area.client.put(area.base, content=b"{}", headers={"Content-Type": "text/plain"}), 415)


@pytest.mark.smoke
def test_delete(area: Area) -> None:
    """DELETE invalidates the whole area and its configuration; 204, also when unknown, and it can be repeated."""
    area.configure(image_bytes=4096)
    for offset in (0, 100, 10**6, 10**12, 2**51 - 100):
        area.store(offset, *BODY)
    before = area.service.pool()["stored_pages"]
    for _ in range(3):
        response = area.client.delete(area.base)
        assert (response.status_code, response.content) == (204, b"")
        check_problem(area.client.get(area.base), 404, "type_unknown")
    assert before - area.service.pool()["stored_pages"] == 500
    assert all(area.is_absent(offset) for offset in (0, 150, 10**6, 10**12 + 99))
    assert area.type not in listed(area)


def test_delete_leaves_other_types(areas) -> None:
    """DELETE of a type touches no other."""
    first, second = areas(), areas()
    first.store(0, *BODY)
    second.store(0, *BODY)
    first.drop()
    assert second.load_pages(0, 100) == BODY
    assert first.numbers() == dict.fromkeys(NUMBERS, 0)


def test_delete_a_big_type(area: Area) -> None:
    """A type of half a million pages goes, and loads and stores of others go on meanwhile."""
    for start in range(0, 2**19, 2**17):
        assert area.over_ranges("zero", (start, 2**17)).status_code == 200
    for start in range(0, 2**19, 2**14):
        area.store(start, *BODY)
    other = Area(area.service, 7)
    other.store(0, BODY[1])
    with ThreadPoolExecutor(1) as beside:
        deleting = beside.submit(area.drop)
        served = 0
        while not deleting.done():
            assert other.load(0) == BODY[1]
            served += 1
        deleting.result()
    assert served > 0
    other.drop()
    assert area.numbers() == dict.fromkeys(NUMBERS, 0)


@pytest.mark.smoke
def test_delete_beside_stores(area: Area) -> None:
    """A store beside a delete may survive, and is counted; after both, the counts are a recount's."""
    area.store(0, *BODY)
    with ThreadPoolExecutor(4) as pool:
        stores = [pool.submit(area.store, 50 * n, *BODY[:40]) for n in range(10)]
        deletes = [pool.submit(area.drop) for _ in range(3)]
        for each in (*stores, *deletes):
            each.result()
    present = [offset for offset in range(700) if not area.is_absent(offset)]
    assert area.numbers()["stored_pages"] == len(present)
