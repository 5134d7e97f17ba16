"""Writes the parts of the reference that the code knows best: `python docs/generate.py`; with --check it only compares.

reference/api.md       from openapi/openapi.json
reference/settings.md  from app.settings
reference/metrics.md   from app.telemetry_cells
reference/cli.md       from the commands' own help
"""  # noqa: INP001  a script, no package

from __future__ import annotations

import enum
import json
import sys
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from app import telemetry_cells as cells
from app.cli.commands import app as commands
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
GENERATED = "<!-- Written by docs/generate.py: change what it reads, then run it. -->"
BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def page(title: str, *blocks: str) -> str:
    """A whole page."""
    return "\n\n".join([f"# {title}", GENERATED, *blocks]) + "\n"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def api() -> str:
    """Every call: parameters, body, answers."""
    document = json.loads((ROOT / "openapi" / "openapi.json").read_text(encoding="utf-8"))
    common = _common_answers(document)
    intro = (
        "The description for programs is [openapi.json](../../openapi/openapi.json), which the service serves as "
        "`/openapi.json`. What the codes mean stands in the [README](../../README.md#the-api), how frames look in "
        "[frames](frames.md), which role a call needs in [security](security.md). These answers are not repeated below:"
    )
    answers = "\n".join(f"- {status}: {description}" for status, description in sorted(common.items()))
    blocks = [document["info"]["description"].strip(), intro, answers]
    for tag in document["tags"]:
        blocks.append(f"## {tag['name'].capitalize()}\n\n{tag.get('description', '')}".rstrip())
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    blocks.extend(_operation(f"{method.upper()} {path}", operation, common))
    return page("The API", *blocks)


def _common_answers(document: dict[str, Any]) -> dict[str, str]:
    """The answers that more than half of the calls describe in the same words, by status."""
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    seen = Counter(
        (status, response["description"]) for each in operations for status, response in each["responses"].items()
    )
    return {status: text for (status, text), times in seen.items() if 2 * times > len(operations) and status >= "400"}


def _operation(call: str, operation: dict[str, Any], common: dict[str, str]) -> Iterator[str]:
    yield f"### {operation['summary']}\n\n`{call}` (`{operation['operationId']}`)"
    yield operation["description"].strip()
    parameters = [
        (f"`{each['name']}`", each["in"], _schema(each["schema"]), each.get("description", ""))
        for each in operation.get("parameters", ())
    ]
    if parameters:
        yield table(("parameter", "in", "value", "meaning"), parameters)
    if body := operation.get("requestBody"):
        kinds = ", ".join(f"`{kind}`" for kind in body["content"])
        yield f"Body: {kinds}. {body.get('description', '')}".rstrip()
    answers = []
    for status, response in operation["responses"].items():
        if common.get(status) == response["description"]:
            continue
        headers = [name for name in response.get("headers", {}) if name != "X-Request-ID"]
        bears = f" Headers: {', '.join(f'`{name}`' for name in headers)}." if headers else ""
        answers.append(f"- {status}: {response['description']}{bears}")
    yield "\n".join(answers)


def _schema(schema: dict[str, Any]) -> str:
    limits = [f"{sign} {schema[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    choices = [f"`{value}`" for value in schema.get("enum", ())]
    default = [f"default {json.dumps(schema['default'])}"] if schema.get("default") is not None else []
    return ", ".join([schema.get("type", "string"), *limits, *choices, *default])


def settings() -> str:
    """Every setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        bounds = [
            f"{sign} {getattr(data, key)}" for data in field.metadata for key, sign in BOUNDS if hasattr(data, key)
        ]
        bounds += [f"`{choice}`" for choice in _choices(field.annotation)]
        rows.append(
            (
                f"`PAGEPOOL_{name.upper()}`",
                _default(field.default),
                ", ".join(bounds),
                (field.description or "").strip(),
            )
        )
    intro = (
        "Environment variables, or lines of a `.env` file in the working directory. Times are seconds, sizes bytes, "
        "unless the meaning says otherwise. The tunables among them (`ENABLED`, `COMPRESSOR`, `MAX_POOL_BYTES`, "
        "`MAX_STORED_PAGES`, `ACCEPT_THRESHOLD_PERCENT`) live with the pool: a value given here is written once, when "
        "a service starts; afterwards they are changed on the [dashboard](../guides/dashboard.md) or with "
        "`PATCH /v1/parameters`."
    )
    return page("Settings", intro, table(("setting", "default", "range", "meaning"), rows))


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    if value is None or value == ():
        return "unset"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [member.value for member in annotation]
    return list(typing.get_args(annotation)) if typing.get_origin(annotation) is typing.Literal else []


def metrics() -> str:
    """Every metric."""
    gauges = [
        *((name, help_, "gauge", "") for name, help_, _ in cells.POOL_GAUGES),
        (*cells.LOGICAL_BYTES, "gauge", ""),
        *((f"{name}_total", help_, "counter", "") for name, help_, _ in cells.POOL_COUNTERS),
    ]
    own = [(*cells.REDIS_UP, "gauge", "")]
    own += [(f"{each.name}_total", each.help, "counter", _labels(each.label, each.values)) for each in cells.COUNTERS]
    own += [(each.name, each.help, "gauge", _labels(each.label, each.values)) for each in cells.WORKER_GAUGES]
    operations = tuple(operation.name.lower() for operation in cells.Operation)
    of_redis = tuple(operation.name.lower() for operation in cells.RedisOperation)
    histograms = [
        (
            cells.REQUEST_SECONDS_NAME,
            cells.REQUEST_SECONDS_HELP,
            "histogram",
            _labels("operation", operations) + "; " + _labels("status_class", cells.STATUS_CLASSES),
        ),
        (cells.REDIS_SECONDS_NAME, cells.REDIS_SECONDS_HELP, "histogram", _labels("operation", of_redis)),
    ]
    head = ("metric", "type", "labels", "meaning")

    def rows(group: list[tuple[str, str, str, str]]) -> list[tuple[str, ...]]:
        return [(f"`{name}`", kind, labels, help_) for name, help_, kind, labels in group]

    bounds = ", ".join(f"{bound:g}" for bound in cells.BOUNDS_SECONDS)
    return page(
        "Metrics",
        "`GET /metrics` answers in Prometheus's text format 0.0.4, or in OpenMetrics 1.0.0 if Accept names it; always "
        "200. All series exist from the start, with 0. [docker/prometheus](../../docker/prometheus/alerts.yml) has "
        "alerts on them, [docker/grafana](../../docker/grafana/dashboards/pagepool.json) a dashboard.",
        "## The pool\n\nThe pool's truth, from Redis, the same from every worker and replica: take `max`, not `sum`. "
        "They are left out while Redis is away.",
        table(head, rows(gauges)),
        "## The service\n\nCounted by each service over all of its workers; add up replicas. A counter starts from 0 "
        "with its service, not with its workers.",
        table(head, rows(own)),
        f"## Times\n\nHistograms, in seconds; bounds {bounds}.",
        table(head, rows(histograms)),
    )


def _labels(label: str | None, values: tuple[str, ...]) -> str:
    return f"`{label}`: {', '.join(values)}" if label else ""


def cli() -> str:
    """Every command's help."""
    statuses = "0 done, 1 failed, 2 wrong usage or no service, 130 Ctrl-C"
    intro = f"`make run` puts `pagepool` into `.venv/bin`. Exit status: {statuses}."
    blocks = [intro]
    for words in _commands(commands, ()):
        result = CliRunner().invoke(commands, [*words, "--help"], prog_name="pagepool", terminal_width=80)
        text = result.output.strip()
        blocks.append(f"## {' '.join(('pagepool', *words))}\n\n```text\n{text}\n```")
    return page("The command", *blocks)


def _commands(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name)


PAGES = {"api.md": api, "settings.md": settings, "metrics.md": metrics, "cli.md": cli}


def main() -> int:
    """Write the pages, or with --check tell which are not what the code says."""
    stale = []
    for name, render in PAGES.items():
        path, text = REFERENCE / name, render()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"Not what the code says: {', '.join(stale)}. Run `python docs/generate.py`.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
