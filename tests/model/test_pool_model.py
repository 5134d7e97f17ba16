"""Random histories of stores, loads, removals and changes of tunables, beside a plain dict."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.harness.deployments import HAS_IMAGE_VIEW
from tests.model.image_model import PoolAndImageModel
from tests.model.pool_model import PoolModel


@pytest.mark.smoke
@pytest.mark.combination("door", "asgi")
@pytest.mark.timeout(3600)
def test_the_pool_is_a_dict(areas, service, pytestconfig: pytest.Config) -> None:
    """Whatever is done to a pool, its pages and every one of its counts are what a plain dict says they are."""
    examples, steps = pytestconfig.getoption("--model-examples"), pytestconfig.getoption("--model-steps")
    both = (areas(), areas())
    model = PoolAndImageModel if HAS_IMAGE_VIEW else PoolModel
    run_state_machine_as_test(
        lambda: model(both),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=examples <= 20,
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if pytestconfig.getoption("--model-shrink") else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    audit = service.audit()
    assert audit.returncode == 0, audit.stdout + audit.stderr
