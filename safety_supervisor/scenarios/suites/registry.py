"""The suites by name."""

from __future__ import annotations

from safety_supervisor.scenarios.suites import grids, nuisance, timed, traffic
from safety_supervisor.scenarios.suites.pool import Work
from safety_supervisor.scenarios.suites.suite import Suite, SuiteError

SUITES: dict[str, Suite] = {
    s.name: s for s in (*grids.SUITES, *timed.NCAP, timed.ALKS, traffic.TRAFFIC, nuisance.NUISANCE)
}


def find(name: str) -> Suite:
    """Return the suite of that name; raises `SuiteError` with those that exist."""
    if name not in SUITES:
        raise SuiteError(f"unknown suite {name!r}; known: {', '.join(SUITES)}")
    return SUITES[name]


def work(name: str) -> Work:
    """Return how a process runs cases of the suite of that name."""
    return find(name).run
