"""The served OpenAPI document against the service that serves it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.harness import effort
from tests.harness.service import Service

OWN_SERVICE = True


@pytest.fixture(scope="module")
def service():
    """A service that no other test counts on."""
    with Service(max_pool_bytes="0", max_extent_pages="16") as running:
        yield running


@pytest.fixture(scope="module")
def api(service: Service):
    """The document as it is served."""
    return schemathesis.openapi.from_url(f"{service.origin}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=effort.schemathesis_examples,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation(case) -> None:
    """Whatever a client sends, the answer is one that the document describes, and never a 500."""
    case.call_and_validate()
