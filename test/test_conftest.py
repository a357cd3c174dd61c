"""What the tests share holds: groups stay together, and what is made once is."""

from __future__ import annotations

import os
import sys

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process: all tests are together")
@pytest.mark.xdist_group("alone")
def test_pytest_xdist_is_told_the_group_of_a_test(request):
    assert request.node.nodeid.endswith("@alone")


def test_what_is_not_traced_runs_without_a_tracer_in_a_worker_too():
    # That the others are traced is held by the demand for every branch: without a tracer nothing would be reached.
    assert not type(sys.gettrace()).__module__.startswith("coverage")


def test_what_is_made_once_is_read_from_then_on(once):
    made = []
    make = lambda: made.append(1) or {"a": 1}  # noqa: E731
    assert once("conftest test", make) == once("conftest test", make) == {"a": 1}
    assert len(made) == 1
