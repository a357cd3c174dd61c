"""What a replay leaves behind: decisions.jsonl line by line, and the summary. docs/formats.md describes both."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from safety_supervisor import __version__
from safety_supervisor.core.config import to_mapping
from safety_supervisor.core.world import Decision, Mode, seconds
from safety_supervisor.messages import normalised
from safety_supervisor.replay.mapping import Mapping as Names
from safety_supervisor.replay.replay import Recorded, Run, text_digest

QUIET = (Mode.INIT, Mode.NOMINAL)
"""Modes in which the policy's plan passes, or nothing is asked yet; every other mode is an intervention."""
PHASES_MAX = 50
"""Changes of mode that are kept of one intervention."""
SAME_MARGIN = 1e-9
"""Margins closer than this [m] are the same: what another processor family may change."""
LEAD_AFTER = 2.0
"""The share of ticks with a lead counts from this long after the first tick [s]."""


def rank(mode: Mode) -> int:
    """Authority of a mode: UNABLE as EMERGENCY_STOP, STANDSTILL as the comfort stop that it ends."""
    return int({Mode.UNABLE: Mode.EMERGENCY_STOP, Mode.STANDSTILL: Mode.COMFORT_STOP}.get(mode, mode))


@dataclass(slots=True)
class Intervention:
    """A run of ticks in which the policy's plan is not simply passed."""

    start: int
    end: int
    mode: Mode
    reason: str = ""
    code: str = ""
    track: int | None = None
    codes: list[str] = field(default_factory=list)
    speed: float | None = None
    margin: float | None = None
    decided: int | None = None
    """First tick of the strongest mode."""
    phases: list[tuple[int, Mode, str, str]] = field(default_factory=list)
    """(start, mode, code, reason) of each change of mode, `PHASES_MAX` at most."""

    def add(self, decision: Decision) -> None:
        """Take one more tick; the first tick of the strongest mode gives the reason."""
        self.end = decision.t
        self._phase(decision)
        stronger = not self.reason or rank(decision.mode) > rank(self.mode)
        if stronger and decision.reasons:
            first = decision.reasons[0]
            self.reason, self.code, self.track = first.text, first.code.value, first.track
        if self.decided is None or rank(decision.mode) > rank(self.mode):
            self.decided = decision.t
        if rank(decision.mode) > rank(self.mode):
            self.mode = decision.mode
        self.codes += [r.code.value for r in decision.reasons if r.code.value not in self.codes]
        margin = decision.assessment.margin
        if np.isfinite(margin):
            self.margin = float(margin) if self.margin is None else min(self.margin, float(margin))

    def _phase(self, decision: Decision) -> None:
        if len(self.phases) < PHASES_MAX and (not self.phases or self.phases[-1][1] != decision.mode):
            code, text = (decision.reasons[0].code.value, decision.reasons[0].text) if decision.reasons else ("", "")
            self.phases.append((decision.t, decision.mode, code, text))

    def as_dict(self, start: int) -> dict[str, Any]:
        """Return the entry of the summary; `start` is the first tick."""
        return {
            "start": self.start,
            "end": self.end,
            "start_s": round(seconds(self.start - start), 3),
            "end_s": round(seconds(self.end - start), 3),
            "decided_s": round(seconds((self.decided or self.start) - start), 3),
            "mode": self.mode.name,
            "reason": self.reason,
            "code": self.code,
            "track": self.track,
            "codes": self.codes,
            "speed": _rounded(self.speed, 3),
            "margin_min_m": _rounded(self.margin, 3),
            "phases": [
                {"start_s": round(seconds(t - start), 3), "mode": mode.name, "code": code, "reason": text}
                for t, mode, code, text in self.phases
            ],
        }


@dataclass(slots=True)
class Spell:
    """A health finding over consecutive ticks."""

    code: str
    source: str
    text: str
    start: int
    end: int
    ticks: int = 1


@dataclass(slots=True)
class Agreement:
    """How far a replay agrees with the decisions that were recorded in the vehicle."""

    ticks: int = 0
    same_mode: int = 0
    same_margin: int = 0
    identical: int = 0
    margin_difference: float = 0.0
    changed: dict[str, int] = field(default_factory=dict)
    first: tuple[int, str, str] | None = None
    """(t, recorded mode, mode now) of the first tick whose mode differs."""
    configs: set[str] = field(default_factory=set)

    def add(self, before: Recorded, decision: Decision, line: str) -> None:
        """Compare one tick; `line` is its record as text."""
        self.ticks += 1
        self.configs.add(before.config)
        self.identical += before.digest == text_digest(line)
        now, margin = decision.mode.name, _rounded(decision.assessment.margin, 9)
        self.same_mode += before.mode == now
        if before.mode != now:
            change = f"{before.mode} -> {now}"
            self.changed[change] = self.changed.get(change, 0) + 1
            self.first = self.first or (decision.t, before.mode, now)
        if margin is None or before.margin is None:
            self.same_margin += margin == before.margin
        else:
            apart = abs(margin - before.margin)
            self.same_margin += apart <= SAME_MARGIN
            self.margin_difference = max(self.margin_difference, apart)

    def as_dict(self, start: int, config: str) -> dict[str, Any]:
        """Return the entry of the summary; `start` is the first tick, `config` the digest of this run."""
        first = self.first
        return {
            "ticks": self.ticks,
            "same_mode": self.same_mode,
            "same_mode_share": round(self.same_mode / self.ticks, 6) if self.ticks else None,
            "same_margin": self.same_margin,
            "margin_difference_max_m": round(self.margin_difference, 9),
            "identical": self.identical,
            "same_config": self.configs == {config},
            "changed_modes": self.changed,
            "first_difference": None if first is None else {
                "t": first[0], "at_s": round(seconds(first[0] - start), 3), "recorded": first[1], "replayed": first[2]
            },
        }  # fmt: skip


@dataclass(slots=True)
class Collector:
    """Gathers the summary while decisions go by."""

    modes: dict[str, int] = field(default_factory=lambda: {mode.name: 0 for mode in Mode})
    interventions: list[Intervention] = field(default_factory=list)
    spells: list[Spell] = field(default_factory=list)
    margins: dict[str, tuple[float, int]] = field(default_factory=dict)
    margin: float | None = None
    """Smallest margin that decided [m]."""
    not_evaluated: int = 0
    plan_sources: dict[str, int] = field(default_factory=dict)
    lead: int = 0
    lead_ticks: int = 0
    ticks: int = 0
    start: int = 0
    end: int = 0
    strongest: int = 0
    agreement: Agreement = field(default_factory=Agreement)
    _last: Decision | None = None
    _open: dict[tuple[str, str], Spell] = field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """Take the decision of one tick."""
        if not self.ticks:
            self.start = decision.t
        self.ticks += 1
        self.end = decision.t
        self.modes[decision.mode.name] += 1
        self.strongest = max(self.strongest, rank(decision.mode))
        self.plan_sources[decision.plan_source] = self.plan_sources.get(decision.plan_source, 0) + 1
        if seconds(decision.t - self.start) >= LEAD_AFTER:
            self.lead_ticks += 1
            self.lead += decision.assessment.lead is not None
        self._margins(decision)
        self._findings(decision)
        self._interventions(decision)
        self._last = decision

    def _margins(self, decision: Decision) -> None:
        smallest = float(decision.assessment.margin)
        self.not_evaluated += bool(np.isnan(smallest))
        if np.isfinite(smallest):
            self.margin = smallest if self.margin is None else min(self.margin, smallest)
        for rule, margin in decision.assessment.margins:
            best = self.margins.get(rule)
            if np.isfinite(margin) and (best is None or margin < best[0]):
                self.margins[rule] = (float(margin), decision.t)

    def _findings(self, decision: Decision) -> None:
        now: dict[tuple[str, str], Spell] = {}
        for finding in decision.health.findings:
            key = (finding.code.value, finding.source)
            spell = self._open.get(key)
            if spell is None:
                spell = Spell(*key, finding.text, decision.t, decision.t, 0)
                self.spells.append(spell)
            spell.end, spell.ticks = decision.t, spell.ticks + 1
            now[key] = spell
        self._open = now

    def _interventions(self, decision: Decision) -> None:
        if decision.mode in QUIET:
            return
        if self._last is None or self._last.mode in QUIET:
            speed = decision.ego.speed if decision.ego else None
            self.interventions.append(Intervention(decision.t, decision.t, decision.mode, speed=speed))
        self.interventions[-1].add(decision)

    @property
    def plan_source(self) -> str:
        """Where the judged plan came from in most ticks."""
        return max(self.plan_sources, key=lambda s: self.plan_sources[s], default="")


def summary(
    run: Run, collector: Collector, source: str, notes: Sequence[str], timing: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the summary of a replay; everything in it but `processing` and `versions` follows from bag and config."""
    bag, c = run.bag, collector
    return {
        "bag": bag.name,
        "recovered": bag.recovered,
        "notes": [*bag.notes, *run.wiring.notes, *notes],
        "duration_s": round(seconds(c.end - c.start), 3),
        "start": c.start,
        "end": c.end,
        "ticks": c.ticks,
        "period": run.config.timing.period,
        "grouping": run.grouping,
        "window": {"start": run.window.start, "end": run.window.end},
        "recorded_decisions": len(run.recorded),
        "recorded_config": next((r.config for r in run.recorded), None),
        "differing_modes": c.agreement.ticks - c.agreement.same_mode if run.recorded else None,
        "agreement": c.agreement.as_dict(c.start, run.config.digest) if run.recorded else None,
        "modes": c.modes,
        "interventions": [i.as_dict(c.start) for i in c.interventions],
        "findings": [_spell(spell, c.start) for spell in c.spells],
        "inputs": _inputs(run),
        "plan_source": c.plan_source,
        "plan_sources": c.plan_sources,
        "lead_confirmed_share": round(c.lead / c.lead_ticks, 6) if c.lead_ticks else None,
        "margin_min_m": _rounded(c.margin, 6),
        "margins_min": {
            rule: {"margin_m": round(value, 6), "t": t, "at_s": round(seconds(t - c.start), 3)}
            for rule, (value, t) in c.margins.items()
        },
        "ticks_not_evaluated": c.not_evaluated,
        "config": {"digest": run.config.digest, "source": source, "values": to_mapping(run.config)},
        "certificate": run.config.certificate,
        "processing": dict(timing),
        "versions": versions(),
    }


def _inputs(run: Run) -> dict[str, Any]:
    used = run.wiring.used_as
    listed: list[dict[str, Any]] = [{"topic": t.name, "type": t.msgtype, "count": t.count} for t in run.bag.topics]
    found = [{**entry, "used_as": used[entry["topic"]]} for entry in listed if entry["topic"] in used]
    unknown = {t.name for t in run.bag.topics if not t.readable}
    ignored = [
        {**entry, "why": why_ignored(entry["topic"], entry["topic"] in unknown, run.mapping)}
        for entry in listed
        if entry["topic"] not in used
    ]
    return {"found": found, "missing": run.wiring.missing, "ignored": ignored}


def why_ignored(topic: str, unknown: bool, mapping: Names) -> str:
    """Say why a topic of a recording is not used."""
    if unknown:
        return "its type definition is not known"
    if mapping.ignored(topic):
        return "the mapping says so"
    return "result of a simulated run" if normalised(topic).startswith("scenario/") else "not an input of this vehicle"


def _spell(spell: Spell, start: int) -> dict[str, Any]:
    return {
        "code": spell.code,
        "source": spell.source,
        "text": spell.text,
        "start_s": round(seconds(spell.start - start), 3),
        "end_s": round(seconds(spell.end - start), 3),
        "ticks": spell.ticks,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return round(float(value), digits) if value is not None and np.isfinite(value) else None


def timing(tick_seconds: Sequence[float], total: float, duration: float) -> dict[str, Any]:
    """Return processing times; they stand in the summary only, never in the decisions."""
    ms = np.asarray(tick_seconds or [0.0]) * 1e3
    return {
        "tick_ms": {
            "p50": round(float(np.percentile(ms, 50)), 3),
            "p99": round(float(np.percentile(ms, 99)), 3),
            "max": round(float(np.max(ms)), 3),
        },
        "read_s": round(total - float(ms.sum()) / 1e3, 3),
        "total_s": round(total, 3),
        "times_real_time": round(duration / total, 1) if total > 0 else None,
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"safety_supervisor": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in ("numpy", "scipy", "shapely", "rosbags", "mcap"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
