"""What the tests share holds: groups stay together, and what is made once is."""

from __future__ import annotations

import os
import sys

import conftest
import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process: all tests are together")
@pytest.mark.xdist_group("alone")
def test_pytest_xdist_is_told_the_group_of_a_test(request):
    assert request.node.nodeid.endswith("@alone")


def test_what_is_not_traced_runs_without_a_tracer_in_a_worker_too():
    # That the others are traced is held by the demand for every branch: without a tracer nothing would be reached.
    assert not type(sys.gettrace()).__module__.startswith("coverage")


def test_branches_are_traced_in_tests_whose_examples_stand_there(request):
    of_the_core = [item for item in request.session.items if conftest.TRACED.fullmatch(item.path.name)]
    if not of_the_core:
        pytest.skip("no test of the core is run")
    traced = [item for item in of_the_core if not item.get_closest_marker("no_cover")]
    assert traced
    assert not any(item.get_closest_marker("hypothesis") for item in traced)


def test_what_is_made_once_is_read_from_then_on(once):
    made = []
    make = lambda: made.append(1) or {"a": 1}  # noqa: E731
    assert once("conftest test", make) == once("conftest test", make) == {"a": 1}
    assert len(made) == 1
