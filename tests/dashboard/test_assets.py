"""How the dashboard's files are served; no browser is needed to tell."""

from __future__ import annotations

import re

import pytest

from app.api.dashboard import DIRECTORY
from tests.harness.problems import check_problem
from tests.harness.service import Service

OWN_SERVICE = True
FILES = sorted(path.name for path in DIRECTORY.iterdir() if path.name != "index.html")


@pytest.mark.parametrize("path", ["/", *(f"/assets/{name}" for name in FILES)])
def test_files_come_with_a_strict_policy(service: Service, path: str) -> None:
    """Own files only, nothing inline, no frame, no sniffing, no referrer; asked for again, answered with 304."""
    answer = service.client.get(path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    again = service.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert "content-security-policy" in again.headers
    head = service.client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_no_file_names_another_host_or_carries_inline_code() -> None:
    """Nothing is fetched from elsewhere, and the page has no inline script, style or handler."""
    for name in [*FILES, "index.html"]:
        text = (DIRECTORY / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(?:https?:)?//[\w-]+\.\w", text), name
        assert "innerHTML" not in text, name
        assert "eval(" not in text, name
    page = (DIRECTORY / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "%2e%2e", "__init__.py", "main.js/x", "a%2Fb"])
def test_nothing_else_is_served(service: Service, name: str) -> None:
    """Only the dashboard's own files have an address."""
    check_problem(service.client.get(f"/assets/{name}"), 404, "not_found")


def test_files_cannot_be_written(service: Service) -> None:
    """Other methods are refused with Allow."""
    problem = service.client.put("/assets/main.js", content=b"x")
    check_problem(problem, 405, "method_not_allowed")
    assert problem.headers["allow"] == "GET, HEAD"


def test_it_is_no_part_of_the_api_description(service: Service) -> None:
    """A generated client has no call for it."""
    paths = service.client.get("/openapi.json").json()["paths"]
    assert not {"/", "/assets/{name}", "/v1/activity"} & paths.keys()


def test_activity_agrees_with_the_metrics(service: Service) -> None:
    """The small document that the page polls has the same counters and buckets as /metrics."""
    service.client.get("/v1/pages/1/0")
    activity = service.client.get("/v1/activity").json()
    metrics = service.metrics()
    for name, values in activity["counters"].items():
        for label, value in values.items() if isinstance(values, dict) else [(None, values)]:
            labels = {} if label is None else {{"stores": "kind", "loads": "result", "rejects": "reason"}[name]: label}
            assert metrics.value(f"pagepool_{name}_total", **labels) == value
    assert activity["pool"].keys() == service.pool().keys()
    assert activity["parameters"] == service.parameters()
    bounds = activity["latency"]["bounds_seconds"]
    assert len(activity["latency"]["load"]) == len(activity["latency"]["store"]) == len(bounds) + 1
    assert sum(activity["latency"]["load"]) >= 1
