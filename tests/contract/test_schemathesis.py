"""The served OpenAPI document against the service that serves it: call by call, and along its links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance, use_after_free
from schemathesis.transport.serialization import Binary

from tests.harness import frames
from tests.harness.pages import PAGE_SIZE
from tests.harness.service import Service

OWN_SERVICE = True

WIDEST_READ = 1 << 20
"""Bytes of an image that a case asks for at most; one configured with 2^53 of them would be read to its end."""

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

# A document can say that a body is bytes, but not that their number is a multiple of the page size, nor that an extent
# must end before the last offset: what it calls valid may be refused.
# An area of pages is there before anything is stored in it: what was deleted may be asked for its (empty) map.
EXCLUDED = [positive_data_acceptance, use_after_free]


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of the test's own, since a case may change its tunables."""
    with Service(max_pool_bytes="0", max_extent_pages="16") as running:
        yield running


@pytest.fixture
def schema(service: Service) -> Any:
    """The document as it is served."""
    return schemathesis.openapi.from_url(f"{service.origin}/openapi.json")


@pytest.fixture
def counted(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """The answers by status, told at the end of the run."""
    found: Counter[str] = Counter()
    yield found
    by_status = ", ".join(f"{count} × {status}" for status, count in sorted(found.items()))
    record_property("figure", f"{request.node.name}: {found.total()} cases, answered {by_status}")


def bound(case: schemathesis.Case) -> None:
    """Let a case ask for a bounded part of an image, whatever its size."""
    if case.operation.label == "GET /v1/types/{type}/image" and not any(
        name.lower() == "range" for name in case.headers
    ):
        case.headers["Range"] = f"bytes=0-{WIDEST_READ - 1}"


def make_whole(case: schemathesis.Case) -> None:
    """Make every other body of bytes a whole page, or a whole frame: by chance hardly any would be one."""
    if not isinstance(case.body, Binary) or len(case.body.data) % 2:
        return
    if case.operation.label == "PUT /v1/pages/{type}/{offset}":
        case.body = Binary(case.body.data[:PAGE_SIZE].ljust(PAGE_SIZE, b"\1"))
    elif case.operation.label == "PUT /v1/frames/{type}/{offset}":
        offset = case.path_parameters["offset"]
        case.body = Binary(frames.zero(offset if isinstance(offset, int) and 0 <= offset < 1 << 51 else 0))


@pytest.mark.timeout(3600)
def test_every_operation(
    schema: Any, counted: Counter[str], subtests: pytest.Subtests, pytestconfig: pytest.Config
) -> None:
    """Whatever a client sends, the answer is one that the document describes, and never a 500."""

    def check(case: schemathesis.Case) -> None:
        bound(case)
        counted[str(case.call_and_validate(excluded_checks=EXCLUDED).status_code)] += 1

    tries = settings(SETTINGS, max_examples=pytestconfig.getoption("--schemathesis-examples"))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert operations
    for operation in operations:
        with subtests.test(operation.label):
            tries(given(case=operation.as_strategy())(check))()
    assert {"200", "204", "404", "422"} <= set(counted)


@pytest.mark.timeout(3600)
def test_along_the_links(service: Service, schema: Any, counted: Counter[str], pytestconfig: pytest.Config) -> None:
    """What one call stored, configured or removed, the next finds as the document says, whatever the order."""
    linked: Counter[str] = Counter()
    tunables = service.parameters()

    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        """One scenario: calls, each led to by an answer before it."""

        def setup(self) -> None:
            # The same choices must lead to the same answers, else hypothesis calls the scenario flaky.
            service.tune(**tunables)
            for type_ in service.client.get("/v1/types?limit=1000").json()["types"]:
                service.client.delete(f"/v1/types/{type_['type']}")

        def before_call(self, case: schemathesis.Case) -> None:
            bound(case)
            make_whole(case)

        def validate_response(self, response: Response, case: schemathesis.Case, **more: Any) -> None:
            counted[str(response.status_code)] += 1
            linked[case.operation.label] += 1
            case.validate_response(response, excluded_checks=EXCLUDED, recorder=self.recorder, **more)

    examples = pytestconfig.getoption("--schemathesis-examples")
    Machine.run(settings=settings(SETTINGS, max_examples=examples * 6, stateful_step_count=8))
    assert {"PUT /v1/pages/{type}/{offset}", "GET /v1/pages/{type}/{offset}"} <= set(linked)
    assert not [status for status in counted if status == "500"]
