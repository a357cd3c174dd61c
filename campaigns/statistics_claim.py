"""Rates of collisions and of false stops over distributions of situations, by importance sampling.

    python campaigns/statistics_claim.py [--runs N] [--jobs N] [--seed N] [--resume FILE] [--record]

A family of situations has parameters with a nominal density p (what traffic does) and a proposal density q (what
is dangerous, or easily mistaken). Samples come from the mixture 0.9 q + 0.1 p, so that no weight exceeds 10: the
estimate is the mean of weight times event. Its 95 % interval: by the normal approximation of that mean where the
events weigh as much as ten equal ones or more ((sum w)^2 / sum w^2 over the events); else from zero to the
Clopper-Pearson bound of the share of events times the largest weight, which holds for any number of samples.

These are rates under the densities written below and the simulated sensors, not under real traffic.

A stop is false when the run without the supervisor neither collides nor leaves the worst-case margin: the envelope
itself, with the true places and speeds of everybody, nothing of tracking or assessment (`scenarios/suites/kept.py`).

With `--resume` each run is kept as it ends, and those of the same code and parameters are not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evidence import record
from scipy import stats

from safety_supervisor import vehicle_file
from safety_supervisor.campaign import stored
from safety_supervisor.core.envelopes import EPS
from safety_supervisor.core.world import Mode
from safety_supervisor.scenarios.command import load
from safety_supervisor.scenarios.policy import Policy
from safety_supervisor.scenarios.run import Run
from safety_supervisor.scenarios.run import run as simulate
from safety_supervisor.scenarios.suite import RAILS, Scenario
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.suites.kept import smallest
from safety_supervisor.scenarios.suites.recorded import DT, Driven
from safety_supervisor.scenarios.world import CAR, Actor, World

SHARE = 0.9
"""Of the proposal in the mixture; the largest weight is 1 / (1 - SHARE)."""
WEIGHT_MAX = 1 / (1 - SHARE)
LEVEL = 0.95
ENOUGH = 10
"""Effective number of events from which the normal approximation is used."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family: nominal and proposal density (frozen SciPy distributions) and its unit."""

    nominal: Any
    proposal: Any
    unit: str


@dataclass(frozen=True)
class Family:
    """Situations with a common shape; `events` are judged on the run with and the run without the supervisor."""

    title: str
    parameters: dict[str, Parameter]
    scenario: Callable[[dict[str, float]], Scenario]


def _cut(distribution: Any, low: float, high: float) -> Any:
    """A distribution limited to an interval, as a density and a sampler."""
    return _Limited(distribution, low, high)


@dataclass(frozen=True)
class _Limited:
    whole: Any
    low: float
    high: float

    def pdf(self, x: float) -> float:
        mass = self.whole.cdf(self.high) - self.whole.cdf(self.low)
        return float(self.whole.pdf(x) / mass) if self.low <= x <= self.high else 0.0

    def draw(self, rng: np.random.Generator) -> float:
        low, high = self.whole.cdf(self.low), self.whole.cdf(self.high)
        return float(np.clip(self.whole.ppf(rng.uniform(low, high)), self.low, self.high))


def _braking_lead(p: dict[str, float]) -> Scenario:
    gap = p["headway"] * 25.0
    lead = Actor("lead", CAR, 3.7 + gap + CAR.length / 2, 0.0, 25.0, 1, ((2.0, -p["deceleration"]),))
    policy = Policy(25.0, reaction=p["reaction"], deceleration=3.0, headway=min(p["headway"], 1.6))
    return Scenario("braking-lead", "a lead brakes", World(actors=(lead,), rails=RAILS), policy, 12.0, 25.0)


def _cut_in(p: dict[str, float]) -> Scenario:
    station = 3.7 + p["gap"] + CAR.length / 2 + 2.0 * p["slower"]
    car = Actor("cut_in", CAR, station, 3.6, 25.0 - p["slower"], swerves=((2.0, p["duration"], 0.0),))
    policy = Policy(25.0, blind=frozenset({"cut_in"}))
    return Scenario("cut-in", "a slower car cuts in", World(actors=(car,), rails=RAILS), policy, 12.0, 25.0)


def _passing(p: dict[str, float]) -> Scenario:
    lead = Actor("lead", CAR, 3.7 + p["headway"] * 25.0 + CAR.length / 2, 0.0, 25.0, 1,
                 ((3.0, -p["slowing"]), (5.0, 0.0)))  # fmt: skip
    beside = Actor("beside", CAR, 45.0, -p["offset"], 21.0)
    oncoming = Actor("oncoming", CAR, 260.0, 3.6 + p["offset"], 25.0, direction=-1)
    policy = Policy(25.0, headway=min(p["headway"], 1.6))
    return Scenario("passing", "nothing to brake hard for", World(actors=(lead, beside, oncoming), rails=RAILS), policy,
                    10.0, 25.0)  # fmt: skip


norm, lognorm, expon = stats.norm, stats.lognorm, stats.expon
HEADWAY = _cut(lognorm(0.4, scale=1.7), 0.5, 5.0)
FAMILIES = {
    "braking-lead": Family("a lead brakes, the policy reacts late", {
        "headway": Parameter(HEADWAY, _cut(lognorm(0.3, scale=0.9), 0.5, 5.0), "s"),
        "deceleration": Parameter(_cut(expon(0.5, 1.5), 0.5, 8.0), _cut(norm(6.0, 1.5), 0.5, 8.0), "m/s^2"),
        "reaction": Parameter(_cut(lognorm(0.5, scale=0.6), 0.1, 3.0), _cut(lognorm(0.4, scale=1.2), 0.1, 3.0), "s"),
    }, _braking_lead),
    "cut-in": Family("a slower car cuts in, unseen by the policy", {
        "gap": Parameter(_cut(lognorm(0.6, scale=30.0), 4.0, 120.0), _cut(lognorm(0.5, scale=12.0), 4.0, 120.0), "m"),
        "slower": Parameter(_cut(expon(0.0, 3.0), 0.0, 15.0), _cut(norm(8.0, 3.0), 0.0, 15.0), "m/s"),
        "duration": Parameter(_cut(norm(4.5, 1.2), 1.5, 9.0), _cut(norm(3.0, 1.0), 1.5, 9.0), "s"),
    }, _cut_in),
    "passing": Family("following, a car beside, oncoming traffic: nothing to brake hard for", {
        "headway": Parameter(_cut(lognorm(0.3, scale=1.9), 1.0, 5.0), _cut(lognorm(0.3, scale=1.4), 1.0, 5.0), "s"),
        "slowing": Parameter(_cut(expon(0.0, 0.5), 0.0, 2.0), _cut(norm(1.2, 0.5), 0.0, 2.0), "m/s^2"),
        "offset": Parameter(_cut(norm(3.6, 0.25), 3.0, 4.4), _cut(norm(3.2, 0.2), 3.0, 4.4), "m"),
    }, _passing),
}  # fmt: skip


def draw(family: Family, rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """Return parameters from the mixture, and their weight."""
    biased = rng.random() < SHARE
    made = {name: (p.proposal if biased else p.nominal).draw(rng) for name, p in family.parameters.items()}
    nominal = math.prod(p.nominal.pdf(made[name]) for name, p in family.parameters.items())
    proposal = math.prod(p.proposal.pdf(made[name]) for name, p in family.parameters.items())
    return made, nominal / (SHARE * proposal + (1 - SHARE) * nominal)


def interval(weights: Any, events: Any) -> dict[str, float | int | str]:
    """Return the estimate of E_p[event] with its 95 % interval, from weights and events under the mixture."""
    n, hits = len(weights), int(np.sum(events))
    terms = np.asarray(weights) * np.asarray(events)
    mean = float(terms.mean())
    effective = float(terms.sum() ** 2 / (terms**2).sum()) if hits else 0.0
    if effective >= ENOUGH:
        half = float(norm.ppf(0.5 + LEVEL / 2)) * float(terms.std(ddof=1)) / math.sqrt(n)
        return {"rate": mean, "low": max(mean - half, 0.0), "high": mean + half, "events": hits, "method": "normal"}
    share = 1.0 if hits == n else float(stats.beta.ppf(0.5 + LEVEL / 2, hits + 1, n - hits))
    return {"rate": mean, "low": 0.0, "high": min(share * WEIGHT_MAX, 1.0), "events": hits, "method": "Clopper-Pearson"}


def margin_kept(run: Run) -> bool:
    """Tell whether ego kept the worst-case margin in a run without the supervisor, by perfect knowledge."""
    scenario, t = run.scenario, np.arange(0.0, run.states[-1, 0], DT)
    moved = [scenario.world.bodies(float(at)) for at in t]
    motions = np.array([np.concatenate([b.pose, b.velocity], axis=1) for b in moved])
    bodies = tuple(Body(a.name, a.kind, motions[:, i]) for i, a in enumerate(scenario.world.actors))
    stations = [scenario.world.road.locate(x, y)[0] for x, y in run.states[:, 1:3]]
    past = Driven(t, np.interp(t, run.states[:, 0], stations), np.interp(t, run.states[:, 0], run.states[:, 4]))
    case = Case(0, {}, bodies, scenario.speed, DT, len(t), scenario.world.road, scenario.station)
    return smallest(case, past, run.config)[0] >= EPS


Job = tuple[str, int, int]


def sample(job: Job) -> dict[str, Any]:
    """Draw one situation and run it with and without the supervisor."""
    name, seed, number = job
    rng = np.random.default_rng([seed, number, list(FAMILIES).index(name)])
    family = FAMILIES[name]
    values, weight = draw(family, rng)
    scenario = family.scenario(values)
    config = load(None)
    without, with_it = (simulate(scenario, config, number, supervised) for supervised in (False, True))
    modes = [d.mode for d in with_it.decisions]
    stopped = any(m.brakes for m in modes)
    needless = stopped and not without.outcome.collision and margin_kept(without)
    return {"weight": weight, "hours": without.states[-1, 0] / 3600, "collision": with_it.outcome.collision,
            "collision_without": without.outcome.collision, "false_stop": needless,
            "false_emergency": needless and Mode.EMERGENCY_STOP in modes}  # fmt: skip


def figures(name: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rates of one family."""
    weights = np.array([s["weight"] for s in samples])
    made: dict[str, Any] = {"title": FAMILIES[name].title, "runs": len(samples),
                            "effective_samples": round(float(weights.sum() ** 2 / (weights**2).sum()), 1)}  # fmt: skip
    for event in ("collision", "collision_without", "false_stop", "false_emergency"):
        made[event] = interval(weights, np.array([s[event] for s in samples]))
    hours = float(np.mean([s["hours"] for s in samples]))
    made["false_stops_per_hour"] = {k: made["false_stop"][k] / hours for k in ("rate", "low", "high")}
    return made


def origin() -> list[str]:
    """Return what a sample depends on besides its job: parameters, the package, the densities and estimates here."""
    here = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return [load(None).digest, vehicle_file.package_digest(), here]


def sampled(jobs: list[Job], workers: int, path: Path | None) -> dict[Job, dict[str, Any]]:
    """Return the samples of all jobs; each new one is appended to `path` as it ends."""
    made: dict[Job, dict[str, Any]] = {}
    here = origin()
    for (name, seed, number), one in stored.entries(path, here) if path else ():
        made[name, seed, number] = one
    new = [job for job in jobs if job not in made]
    keep = stored.Lines(path, here) if path else contextlib.nullcontext()
    with multiprocessing.get_context("spawn").Pool(workers) as pool, keep as lines:
        for job, one in zip(new, pool.imap(sample, new), strict=True):
            made[job] = one
            if lines is not None:
                lines.write(job, one)
    return made


def rounded(value: Any) -> Any:
    """Round every number to four digits."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> int:
    """Sample every family and print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="samples of each family (default: 1000)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", metavar="FILE", type=Path, help="keep runs there, and take those that stand there")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/evidence/campaign.json")
    args = parser.parse_args()
    jobs: list[Job] = [(name, args.seed, i) for i in range(args.runs) for name in FAMILIES]
    samples = sampled(jobs, args.jobs, args.resume)
    results = {}
    for name in FAMILIES:
        results[name] = rounded(figures(name, [samples[name, args.seed, i] for i in range(args.runs)]))
        print(name, json.dumps(results[name]), flush=True)
    if args.record:
        record("statistics", {"seed": args.seed, "families": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
