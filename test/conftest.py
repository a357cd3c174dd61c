"""What every test shares: reproducible Hypothesis runs that fit into a loaded machine, and which tests are traced.

The branches of the core are all reached by its own tests (`TRACED`), with examples that stand there. Only these are
traced when coverage is measured: a simulated drive or what Hypothesis draws takes half as long again under the tracer
and reaches nothing more.

`HYPOTHESIS_PROFILE=hunt` draws other examples every time and ten times as many: for a search, not for a verdict.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import re

import pytest
from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=60,
                          suppress_health_check=QUIET)
settings.register_profile("hunt", deadline=None, max_examples=600, print_blob=True, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

TRACED = re.compile(
    r"test_(arbitration|assessment\w*|candidates|config|core_corners|cover|delivery|doppler_sign|envelopes|fallback|foresight|"
    r"geometry|health|manoeuvres|motion|onset|plan_check|policy_watch|requested|self_test|shift|supervisor|"
    r"tracking_(?!benchmark)\w+)\.py"
)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Let `no_cover` hold in workers: there pytest-cov 7 starts two measurements, and pausing one resumes the other."""
    cov = session.config.pluginmanager.getplugin("_cov")
    if hasattr(session.config, "workerinput") and cov is not None and cov.cov_controller is not None:
        cov.cov_controller.cov.stop()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if not TRACED.fullmatch(item.path.name) or item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.no_cover)
        # pytest-xdist 3.8 writes the group of a test where pytest 9.2 no longer looks for it.
        grouped = getattr(item, "_nodeid", item.nodeid)
        if grouped != item.nodeid:
            item._id = type(item._id).parse(grouped)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)`: what `make` returns, made by the first test that asks, in whichever worker; read only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    folder.mkdir(exist_ok=True)
    here = {}

    def get(name, make):
        if name not in here:
            file = folder / name.replace(os.sep, "_")
            with file.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not file.exists():
                    file.write_bytes(pickle.dumps(make()))
            here[name] = pickle.loads(file.read_bytes())
        return here[name]

    return get
