"""The estimator of the statistical claim: right on what is known, and its intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import statistics_claim as claim
from scipy import stats


@pytest.mark.parametrize("name", claim.FAMILIES)
def test_weights_are_bounded_and_average_to_one(name):
    rng = np.random.default_rng(1)
    drawn = [claim.draw(claim.FAMILIES[name], rng) for _ in range(500)]
    weights = np.array([w for _, w in drawn])
    assert weights.max() <= claim.WEIGHT_MAX + 1e-9
    assert weights.mean() == pytest.approx(1.0, abs=0.35)
    for values, _ in drawn[:20]:
        scenario = claim.FAMILIES[name].scenario(values)
        assert scenario.world.actors


def test_a_known_tail_is_estimated_inside_its_interval():
    """The event headway < 0.8 s has a probability that the distribution function gives."""
    family = claim.FAMILIES["braking-lead"]
    headway = family.parameters["headway"].nominal
    mass = headway.whole.cdf(headway.high) - headway.whole.cdf(headway.low)
    truth = float((headway.whole.cdf(0.8) - headway.whole.cdf(0.5)) / mass)
    inside = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        drawn = [claim.draw(family, rng) for _ in range(150)]
        found = claim.interval([w for _, w in drawn], [v["headway"] < 0.8 for v, _ in drawn])
        inside += found["low"] <= truth <= found["high"]
    assert inside >= 9  # 95 % of 12, less three standard deviations of that


def test_without_events_the_bound_is_that_of_clopper_and_pearson_times_the_largest_weight():
    found = claim.interval(np.ones(300), np.zeros(300))
    assert found["rate"] == found["low"] == 0.0
    assert found["high"] == pytest.approx(10 * stats.beta.ppf(0.975, 1, 300), rel=1e-9)


def test_one_sample_runs_both_ways():
    made = claim.sample(("cut-in", 0, 0))
    assert set(made) == {"weight", "hours", "collision", "collision_without", "false_stop", "false_emergency"}
    assert made["weight"] > 0.0
    assert claim.figures("cut-in", [made, made])["runs"] == 2


@pytest.mark.parametrize(("headway", "inside"), [(2.4, True), (0.6, False)])
def test_a_stop_is_false_where_the_worst_case_margin_was_kept(headway, inside):
    """Neither run comes to harm: the nearer one is 15 m behind its lead at 25 m/s, where a stop is due."""
    family = claim.FAMILIES["braking-lead"]
    scenario = family.scenario({"headway": headway, "deceleration": 0.5, "reaction": 0.5})
    run = claim.simulate(scenario, claim.load(None), 0, False)
    assert not run.outcome.collision
    assert run.outcome.minimal_distance > 1.0
    assert claim.margin_kept(run) is inside


def test_samples_that_stand_in_a_file_are_not_run_again(tmp_path, monkeypatch):
    path, jobs = tmp_path / "rates" / "rates.jsonl", [("cut-in", 0, 0), ("passing", 0, 0)]
    ran = []

    class Pool:  # the samples are this test's own, and worker processes would not know them
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def imap(self, function, new):
            return map(function, new)

    monkeypatch.setattr(claim.multiprocessing, "get_context", lambda _: claim.argparse.Namespace(Pool=lambda _: Pool()))
    monkeypatch.setattr(claim, "sample", lambda job: ran.append(job) or {"weight": len(ran)})
    assert claim.sampled(jobs[:1], 1, path) == {jobs[0]: {"weight": 1}}
    path.write_text(path.read_text() + '{"origin": [], "key"')  # a line that was cut off
    assert claim.sampled(jobs, 1, path) == {jobs[0]: {"weight": 1}, jobs[1]: {"weight": 2}}
    assert claim.sampled(jobs, 1, path)[jobs[1]] == {"weight": 2}
    assert ran == jobs
    monkeypatch.setattr(claim, "origin", lambda: ["other code"])
    assert claim.sampled(jobs[:1], 1, path) == {jobs[0]: {"weight": 3}}
    assert claim.sampled(jobs[:1], 1, None) == {jobs[0]: {"weight": 4}}
