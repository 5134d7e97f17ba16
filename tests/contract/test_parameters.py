"""Run-time tunables (contract 2.5)."""

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem

NAMES = {"enabled", "compressor", "max_pool_bytes", "max_stored_pages", "accept_threshold_percent"}
COMPRESSORS = ("lz4", "lz4hc", "zstd", "none")
BODY = pages.mixed(60, seed=51)


@pytest.mark.smoke
def test_show(service) -> None:
    """GET shows the five tunables with their defaults."""
    assert service.parameters() == {
        "enabled": True,
        "compressor": "lz4",
        "max_pool_bytes": 0,
        "max_stored_pages": 2**32,
        "accept_threshold_percent": 90,
    }


@pytest.mark.smoke
def test_patch_any_subset(service, tune) -> None:
    """PATCH changes what it names, leaves the rest, and answers with the whole."""
    answer = tune(compressor="zstd")
    assert answer == {**answer, "compressor": "zstd", "enabled": True}
    assert set(answer) == NAMES
    answer = tune(max_pool_bytes=10**12, accept_threshold_percent=50)
    assert answer["compressor"] == "zstd"
    assert (answer["max_pool_bytes"], answer["accept_threshold_percent"]) == (10**12, 50)
    assert service.parameters() == answer
    assert tune() == answer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", "yes"),
        ("enabled", 1),
        ("enabled", None),
        ("compressor", "gzip"),
        ("compressor", "LZ4"),
        ("compressor", ""),
        ("compressor", 1),
        ("max_pool_bytes", -1),
        ("max_pool_bytes", 1.5),
        ("max_pool_bytes", "1"),
        ("max_pool_bytes", 2**63),
        ("max_pool_bytes", 10**30),
        ("max_stored_pages", -1),
        ("max_stored_pages", True),
        ("accept_threshold_percent", 0),
        ("accept_threshold_percent", 101),
        ("accept_threshold_percent", None),
        ("no_such_tunable", 1),
    ],
)
@pytest.mark.usefixtures("tune")
def test_values_out_of_range(service, name: str, value) -> None:
    """A value out of range, or a name that is none, is refused, and nothing of that PATCH is done."""
    before = service.parameters()
    response = service.client.patch("/v1/parameters", json={"compressor": "none", name: value})
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)
    assert service.parameters() == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\x80\xff", b"[" * 5000, b'{"enabled": true']
)
@pytest.mark.usefixtures("tune")
def test_a_patch_is_a_json_object(service, body: bytes) -> None:
    """A body that is no JSON object is refused."""
    response = service.client.patch("/v1/parameters", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    check_problem(response, response.status_code)


@pytest.mark.smoke
@pytest.mark.usefixtures("tune")
def test_a_patch_is_application_json(service) -> None:
    """JSON calls require application/json."""
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = service.client.patch(
            "/v1/parameters", content=b'{"enabled": false}', headers={"Content-Type": media_type}
        )
        check_problem(response, 415)
    assert service.parameters()["enabled"] is True


@pytest.mark.smoke
def test_every_worker_has_a_change_when_patch_answers(service, area: Area, tune) -> None:
    """PATCH answers when every worker of this service has the change."""
    for round_ in range(6):
        enabled = bool(round_ % 2)
        tune(enabled=enabled, accept_threshold_percent=50 + round_)
        for _ in range(8):
            with service.new_client() as other:
                assert other.get("/v1/parameters").json()["accept_threshold_percent"] == 50 + round_
                octets = {"Content-Type": "application/octet-stream"}
                response = other.put(area.url(1), content=BODY[0], headers=octets)
                assert response.status_code == (204 if enabled else 503)


@pytest.mark.smoke
@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_pages_under_each_compressor(area: Area, tune, compressor: str) -> None:
    """Pages go in and out under each compressor, and what it does not shrink is raw."""
    tune(compressor=compressor)
    area.store(0, *BODY)
    assert area.load_pages(0, 60) == BODY
    counts, numbers = pages.counts_of(BODY), area.numbers()
    assert numbers["zero_pages"] == counts["zero"]
    assert numbers["same_filled_pages"] == counts["same"]
    incompressible = counts["raw"] + (counts["compressed"] if compressor == "none" else 0)
    assert numbers["incompressible_pages"] == incompressible


def test_old_pages_stay_readable(area: Area, tune) -> None:
    """Pages stored under another compressor stay readable, and can be overwritten under the new one."""
    for index, compressor in enumerate(COMPRESSORS):
        tune(compressor=compressor)
        area.store(100 * index, *BODY)
    for last in COMPRESSORS:
        tune(compressor=last)
        for index in range(4):
            assert area.load_pages(100 * index, 60) == BODY
    for index in range(4):
        area.store(100 * index, *reversed(BODY))
        assert area.load_pages(100 * index, 60) == BODY[::-1]


def test_compressors_differ(area: Area, tune) -> None:
    """The compressor decides what a page costs: none more than lz4, lz4 no less than zstd, on text."""
    lengths = {}
    for compressor in COMPRESSORS:
        tune(compressor=compressor)
        area.store(0, pages.compressible(5))
        lengths[compressor] = int(area.head(0).headers["page-stored-length"])
    assert lengths["none"] > 4096
    assert lengths["zstd"] < lengths["lz4"] < 4096
    assert lengths["lz4hc"] <= lengths["lz4"]


def test_etags_do_not_depend_on_the_compressor(area: Area, tune) -> None:
    """The ETag is of the page's bytes, whatever form they are kept in."""
    for compressor in COMPRESSORS:
        tune(compressor=compressor)
        area.store(0, pages.compressible(5))
        assert area.get(0).headers["etag"] == pages.etag(pages.compressible(5))
