from __future__ import annotations

from app.embedded.backoff import STEADY_SECONDS, Backoff


def test_waits_double_up_to_the_longest():
    """A child that keeps ending young is started again after waits that double, up to a bound."""
    backoff = Backoff(shortest=0.5, longest=3.0)
    assert [backoff.wait_after(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_child_that_ran_steadily_is_started_again_at_once():
    """A child that ran for a while is taken for sound again."""
    backoff = Backoff(shortest=0.5, longest=3.0)
    for _ in range(4):
        backoff.wait_after(0.0)
    assert backoff.wait_after(STEADY_SECONDS) == 0.5
