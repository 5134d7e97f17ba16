"""How much the tests of clusters do: a short form in every run, all of it with `make test-cluster`."""

from __future__ import annotations

import os

import pytest

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
"""How often the tests under load repeat their trouble."""

in_long_runs = pytest.mark.skipif(ROUNDS == 1, reason="runs with make test-cluster")
