"""The served OpenAPI document against the service that serves it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.harness.service import Service

OWN_SERVICE = True


@pytest.fixture(scope="module")
def service():
    """A service that no other test counts on."""
    with Service(max_pool_bytes="0", max_extent_pages="16") as running:
        yield running


def check(case: schemathesis.Case) -> None:
    """Send a case and hold the answer against the document."""
    # A document can say that a body is bytes, but not that their number is a multiple of the page size, nor that an
    # extent must end before the last offset: what it calls valid may be refused.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


@pytest.mark.timeout(3600)
def test_every_operation(service: Service, subtests: pytest.Subtests, pytestconfig: pytest.Config) -> None:
    """Whatever a client sends, the answer is one that the document describes, and never a 500."""
    schema = schemathesis.openapi.from_url(f"{service.origin}/openapi.json")
    tries = settings(
        max_examples=pytestconfig.getoption("--schemathesis-examples"),
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    operations = [result.ok() for result in schema.get_all_operations()]
    assert operations
    for operation in operations:
        with subtests.test(operation.label):
            tries(given(case=operation.as_strategy())(check))()
