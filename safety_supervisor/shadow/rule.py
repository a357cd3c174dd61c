"""The rule by which shadow drives lead to arming: stated limits, exact confidence bounds, every failing point named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from safety_supervisor.shadow.evidence import Drive, Moment


@dataclass(frozen=True, slots=True)
class Rule:
    """What has to hold. Rates are of interventions that nobody has found justified."""

    confidence: float = 0.95
    """Of each one-sided upper bound."""
    hours: float = 20.0
    km: float = 500.0
    """Least that must have been judged."""
    stops_per_hour: float = 0.5
    stops_per_100km: float = 2.0
    emergencies_per_hour: float = 0.15
    emergencies_per_100km: float = 0.6
    """Largest admissible upper bounds; with the least exposure the emergencies' are met by none only."""
    judged_share: float = 0.95
    """Of the time without a driver in control, that must have been judged and not spent in INIT."""
    vehicles: int = 1
    """That drove at one time, at most; where more sources tell of one time, a drive counts twice."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Events per unit of exposure with its bounds."""

    events: int
    exposure: float
    per: float
    lower: float
    """Two-sided bounds at the confidence of the rule."""
    upper: float
    bound: float
    """One-sided upper bound; the rule reads this one."""


def rate(events: int, exposure: float, confidence: float) -> Rate:
    """Return the rate of a Poisson process with exact (Garwood) bounds; infinite without exposure."""
    if exposure <= 0.0:
        return Rate(events, 0.0, math.inf, 0.0, math.inf, math.inf)
    half = (1.0 - confidence) / 2
    lower = float(stats.chi2.ppf(half, 2 * events)) / 2 if events else 0.0
    upper = float(stats.chi2.ppf(1.0 - half, 2 * events + 2)) / 2
    bound = float(stats.chi2.ppf(confidence, 2 * events + 2)) / 2
    return Rate(events, exposure, events / exposure, lower / exposure, upper / exposure, bound / exposure)


def reviewed(drives: Sequence[Drive], verdicts: Mapping[str, str]) -> list[Moment]:
    """Return all moments in order of time, with what a review says of them."""
    moments = sorted((m for drive in drives for m in drive.moments), key=lambda m: m.start)
    for moment in moments:
        moment.verdict = verdicts.get(moment.key, "unreviewed")
    return moments


def judge(drives: Sequence[Drive], moments: Sequence[Moment], rule: Rule) -> dict[str, Any]:
    """Return the figures, what speaks against arming, and whether it is recommended."""
    hours, km = sum(d.judged for d in drives) / 3600.0, sum(d.distance for d in drives) / 1000.0
    counted = [m for m in moments if m.verdict != "justified"]
    rates: dict[str, dict[str, Any]] = {}
    for kind in ("caps", "stops", "emergencies"):
        n = sum(m.kind == kind for m in counted)
        by = {"per_hour": rate(n, hours, rule.confidence), "per_100km": rate(n, km / 100.0, rule.confidence)}
        rates[kind] = {unit: _plain(asdict(found)) for unit, found in by.items()}
    against = [*_exposure(drives, hours, km, rule), *_sameness(drives), *_twice(drives, rule), *_limits(rates, rule)]
    against += [f"{fault} ({drive.source})" for drive in drives for fault in drive.faults]
    return {
        "arm": not against,
        "against": against,
        "rule": asdict(rule),
        "hours": round(hours, 4),
        "km": round(km, 3),
        "drives": len(drives),
        "parameters": sorted({p for d in drives for p in d.parameters}),
        "certificates": sorted({c or "none" for d in drives for c in d.certificates}),
        "interventions": len(moments),
        "justified": len(moments) - len(counted),
        "unreviewed": sum(m.verdict == "unreviewed" for m in moments),
        "rates": rates,
        "moments": [asdict(m) | {"key": m.key} for m in moments],
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


def _exposure(drives: Sequence[Drive], hours: float, km: float, rule: Rule) -> list[str]:
    found = []
    if hours < rule.hours:
        found.append(f"{hours:.2f} h were judged, {rule.hours:g} h are needed")
    if km < rule.km:
        found.append(f"{km:.1f} km were judged, {rule.km:g} km are needed")
    waited = sum(d.waited for d in drives) / 3600.0
    share = hours / (hours + waited) if hours + waited > 0.0 else 0.0
    if share < rule.judged_share:
        found.append(f"{100 * share:.1f} % of the time was judged, {100 * rule.judged_share:g} % are needed")
    return found


def _sameness(drives: Sequence[Drive]) -> list[str]:
    """Evidence is of one parameter set, one proof and one code."""
    found = []
    for what, seen in (
        ("parameter sets", {p for d in drives for p in d.parameters}),
        ("certificates", {c for d in drives for c in d.certificates}),
        ("versions of the code", {c for d in drives for c in d.codes}),
    ):
        if len(seen) > 1:
            found.append(f"the drives had {len(seen)} different {what}")
    if None in {c for d in drives for c in d.certificates}:
        found.append("no certificate proves the parameters that were driven with")
    return found


def _twice(drives: Sequence[Drive], rule: Rule) -> list[str]:
    """A drive counts once, also when its log, its recording and a replay of it are all named."""
    running: list[Drive] = []
    for drive in sorted((d for d in drives if d.begin is not None), key=lambda d: d.begin or 0):
        running = [other for other in running if other.end > (drive.begin or 0)]
        running.append(drive)
        if len(running) > rule.vehicles:
            names = ", ".join(other.source for other in running)
            return [f"{len(running)} sources tell of one time, with {rule.vehicles} vehicle(s) driving: {names}"]
    return []


def _limits(rates: Mapping[str, Mapping[str, Any]], rule: Rule) -> list[str]:
    found = []
    for kind in ("stops", "emergencies"):
        for unit, words in (("per_hour", "per hour"), ("per_100km", "per 100 km")):
            limit = float(getattr(rule, f"{kind}_{unit}"))
            bound = rates[kind][unit]["bound"]
            if bound is None or not bound <= limit:
                said = "unknown" if bound is None else f"{bound:.3g}"
                found.append(f"{kind} {words}: upper bound {said}, allowed {limit:g}")
    return found
