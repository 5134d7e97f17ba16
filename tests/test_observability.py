"""The Grafana dashboard and the Prometheus configuration name only what /metrics has, and promtool accepts them."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.metrics import Metrics
from tests.harness.service import Service

DOCKER = Path(__file__).parents[1] / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "pagepool.json"
PROMETHEUS = DOCKER / "prometheus"
SELECTOR = re.compile(r"\b(pagepool_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
OF_THE_SCRAPE = {"job", "instance"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]


@pytest.fixture(scope="module")
def metrics() -> Iterator[Metrics]:
    """What a service that has just started says."""
    with Service(max_pool_bytes="0") as running:
        yield running.metrics()


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_metrics_and_labels_exist(metrics: Metrics, name: str, expression: str) -> None:
    """Every metric exists, and every label and value that an expression matches or groups by."""
    named = SELECTOR.findall(expression)
    grouped = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
    labels_seen: set[str] = set()
    for metric, matchers in named:
        series = [dict(labels) for series_name, labels in metrics.samples if series_name == metric]
        assert series, f"{name}: there is no metric {metric}"
        labels_seen |= set().union(*series)
        for label, operator, value in MATCHER.findall(matchers):
            if label in OF_THE_SCRAPE:
                continue
            assert label in series[0], f"{name}: {metric} has no label {label}"
            for each in value.split("|") if "~" in operator else [value]:
                assert each in {labels[label] for labels in series}, f"{name}: no {label}={each}"
    if named:
        assert grouped <= labels_seen | OF_THE_SCRAPE, name
    assert named or expression.startswith(("up{", "pagepool:")), name


def test_recorded_names_are_recorded() -> None:
    """An expression that uses a recorded series finds its rule."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for _, expression in expressions() for name in re.findall(r"pagepool:[a-z0-9_:]+", expression)}
    assert used <= recorded


def test_every_metric_is_on_the_dashboard(metrics: Metrics) -> None:
    """Nothing that the service tells is left for the operator to find by chance."""
    shown = "\n".join(target["expr"] for panel in panels() for target in panel.get("targets", ()))
    bases = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name, _ in metrics.samples}
    assert not {base for base in bases if base.startswith("pagepool_") and base not in shown}


def test_alerts_cover_what_goes_wrong() -> None:
    """Pool full, refusals, corrupt blobs, Redis away, a falling hit rate: each has an alert that says what it means."""
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    wanted = {
        "PagepoolFull",
        "PagepoolRejects",
        "PagepoolDecodeFailures",
        "PagepoolRedisAway",
        "PagepoolHitRateFalling",
    }
    assert wanted <= alerts.keys()
    for rule in alerts.values():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_panels_are_described_and_do_not_overlap() -> None:
    """Ids are unique, every panel has a title and says what it shows, no two lie on one another."""
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels()], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_provisioning_is_yaml_that_fits() -> None:
    """Grafana is told of a Prometheus and of the folder of dashboards."""
    provisioning = DOCKER / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))
    providers = yaml.safe_load((provisioning / "dashboards" / "pagepool.yml").read_text(encoding="utf-8"))
    assert [each["type"] for each in sources["datasources"]] == ["prometheus"]
    assert [each["type"] for each in providers["providers"]] == ["file"]


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_accepts_them(arguments: tuple[str, ...]) -> None:
    """The configuration is valid, and the alerts fire on the series of alerts_test.yml and on no other."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH (Debian: apt-get install prometheus)")
    run = subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_parses_the_dashboard(tmp_path: Path) -> None:
    """Every expression on the Grafana dashboard is PromQL, once Grafana's variables are filled in."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH (Debian: apt-get install prometheus)")
    filled = [
        target["expr"].replace("$__rate_interval", "1m").replace("$job", "pagepool")
        for panel in panels()
        for target in panel.get("targets", ())
    ]
    group = {"name": "panels", "rules": [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(filled)]}
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [group]}), encoding="utf-8")
    run = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
