"""The verb `explain`: one decision of a recording in words and numbers.

What was known, which object, which rule, by what margin; the inputs with their ages; what the plan would have done,
what the fallback and the vehicle did; the first moment at which it could have known; and where the reaction time went.

"Could have known" is computed, not argued: every tick before the decision is judged again with an authority that
believes the first detection (no existence threshold, one hit, no debounce), from the very same state; the first tick
in which the object that decided would then have demanded as much is that moment.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Mode, Threat, nanoseconds, seconds
from safety_supervisor.messages import decision_record
from safety_supervisor.replay.bag import BagError, open_bags
from safety_supervisor.replay.evidence import (
    apart,
    arc_seen,
    believing,
    decisive,
    demands,
    hardest,
    input_topics,
    manoeuvre,
    names,
    nearest,
    object_facts,
    place_of,
    present_motion,
    row_of,
    sensor_of,
    timeout,
)
from safety_supervisor.replay.explain_text import lines
from safety_supervisor.replay.inputs import Options, add_input_arguments, grouped, prepare
from safety_supervisor.replay.outlook import outcome
from safety_supervisor.replay.replay import Run, Step, moment
from safety_supervisor.replay.results import Collector, rank

BEFORE = 20.0
"""How far back [s] the evidence is followed."""
AFTER = 30.0
"""How far on [s] what followed is told."""
NAMED = re.compile(r"first|last|[i#]\d+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor explain`."""
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help="as for replay; several must belong together")
    when = "seconds after the first tick, nanoseconds, first, last, or iN for the N-th intervention"
    parser.add_argument("--at", metavar="T", required=True, help=when)
    add_input_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Explain one decision."""
    groups = grouped(args.bags)
    if len(groups) > 1:
        raise BagError(f"{args.bags[0]}: {len(groups)} recordings that do not belong together, expected one")
    with open_bags(groups[0]) as bag:
        ready = prepare(bag, Options(args.config, args.set, mapping=args.mapping))
        result = explain(ready.run, args.at)
        result["config"]["source"] = ready.source
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(lines(result)))
    return 0


# --- which tick -----------------------------------------------------------------------------------------------


def explain(replayed: Run, asked: str) -> dict[str, Any]:
    """Return the explanation of the decision at a moment, JSON-ready; docs/formats.md describes every key."""
    t = _named(replayed, asked) if NAMED.fullmatch(asked) else None
    record = _Record(replayed.config, asked, t)
    for step in replayed.steps():
        if not record.add(step):
            break
    return record.told(replayed)


def _named(replayed: Run, name: str) -> int:
    """Return the tick [ns] at which an intervention reached its strongest mode."""
    collector = Collector()
    for decision in replayed.decisions():
        collector.add(decision)
    found = [i.start if i.decided is None else i.decided for i in collector.interventions]
    if not found:
        raise BagError(f"--at {name}: there is no intervention, expected a time")
    number = {"first": 1, "last": len(found)}.get(name) or int(name.lstrip("i#") or 0)
    if not 1 <= number <= len(found):
        raise BagError(f"--at {name}: there are {len(found)} interventions, the first is i1")
    return found[number - 1]


@dataclass(slots=True)
class _Heard:
    """What has come from one input."""

    stamp: int
    arrived: int
    messages: int = 1
    first: int = 0
    """Stamp of the first message [ns]."""


@dataclass(slots=True)
class _Record:
    """Gathers what the explanation is made of, tick by tick."""

    config: Config
    asked: str
    t: int | None
    start: int | None = None
    past: deque[Step] = field(default_factory=deque)
    onset: int = 0
    """First tick of the run of ticks with at least this authority [ns]."""
    heard: dict[str, _Heard] = field(default_factory=dict)
    at: Step | None = None
    heard_at: dict[str, _Heard] = field(default_factory=dict)
    later: list[Decision] = field(default_factory=list)

    def add(self, step: Step) -> bool:
        """Take one tick; return whether more are needed."""
        t = step.decision.t
        if self.start is None:
            self.start = t
            if self.t is None:
                self.t = moment(self.asked, t, "--at")
            if self.t < t - nanoseconds(self.config.timing.period):
                raise BagError(f"--at {self.asked} is before the first tick")
        assert self.t is not None
        if self.at is None or t <= self.t:
            self._now(step)
            return True
        self.later.append(step.decision)
        return seconds(t - self.at.decision.t) < AFTER

    def _now(self, step: Step) -> None:
        """This is the tick that is meant, unless a later one comes that is not after the time asked for."""
        decision = step.decision
        before = self.at.decision if self.at else None
        if before is None or rank(before.mode) < rank(decision.mode):
            self.onset = decision.t
        elif rank(before.mode) > rank(decision.mode):
            self.onset = next((s.decision.t for s in self._run(decision)), decision.t)
        self._hear(step)
        self.at = step
        self.heard_at = dict(self.heard)
        self.past.append(step)
        while seconds(decision.t - self.past[0].decision.t) > BEFORE:
            self.past.popleft()

    def _run(self, decision: Decision) -> Iterator[Step]:
        """Yield the steps up to now whose authority has been at least that of now all the time, the first one first."""
        strong: list[Step] = []
        for step in reversed(self.past):
            if rank(step.decision.mode) < rank(decision.mode):
                break
            strong.append(step)
        yield from reversed(strong)

    def _hear(self, step: Step) -> None:
        arrived = {normal: at for normal, _, at, _ in step.batch}
        topics = input_topics(self.config)
        inputs = step.inputs
        for name, stamp in (
            *(("odometry", o.t) for o in inputs.odometry), *(("plan", p.t) for p in inputs.plans),
            *((s.sensor, s.t) for s in inputs.radar), *((r.sensor, r.t) for r in inputs.ranges),
        ):  # fmt: skip
            old = self.heard.get(name)
            logged = arrived.get(topics.get(name, ""), step.decision.t)
            if old is None:
                self.heard[name] = _Heard(stamp, logged, 1, stamp)
            else:
                self.heard[name] = _Heard(max(stamp, old.stamp), logged, old.messages + 1, old.first)

    # --- the result -------------------------------------------------------------------------------------------

    def told(self, replayed: Run) -> dict[str, Any]:
        """Return the whole explanation."""
        if self.at is None or self.start is None or self.t is None:
            raise BagError(f"{replayed.bag.path}: there is no tick in it")
        last = self.later[-1].t if self.later else self.at.decision.t
        if self.t > last + nanoseconds(self.config.timing.period) and not self.later:
            raise BagError(f"--at {self.asked} is after the last tick, {seconds(last - self.start):.3f} s")
        d = self.at.decision
        record = decision_record(d)
        threat = decisive(d)
        beside = None if threat is not None else nearest(d)
        thing = place_of(threat or beside, d, self.config)
        plan = self.at.state.validated if d.plan_source in ("policy", "last validated") else None
        knowable = self._knowable()
        return {
            "bag": replayed.bag.name,
            "at": {"asked": self.asked, "t": d.t, "at_s": self._s(d.t), "since_t": self.onset,
                   "since_s": self._s(self.onset)},
            "mode": d.mode.name, "verdict": d.verdict.name, "demand": d.assessment.demand.name,
            "reasons": record["reasons"], "health": record["health"], "ego": record["ego"],
            "plan_source": d.plan_source, "margin_m": record["margin_m"], "margins": record["margins"],
            "speed_cap": record["speed_cap"] if d.assessment.speed_cap < self.config.odd.speed_max else None,
            "acceleration": record["acceleration"],
            "rule": threat.code.value if threat else None,
            "object": object_facts(threat, d, self.config),
            "nearest": object_facts(beside, d, self.config),
            "known": {"tracks": len(d.tracks), "arcs": sum(a.confirmed for a in d.arcs),
                      "confirmed": int(np.sum(d.tracks.existence >= self.config.authority.lead)),
                      "in_corridor": len(d.assessment.threats)},
            "inputs": self._inputs(d.t),
            "plan": outcome(plan or present_motion(d), d.t, thing, self.config),
            "fallback": outcome(d.fallback, d.t, thing, self.config),
            "commanded": outcome(d.command, d.t, thing, self.config),
            "followed": self._followed(d, threat or beside),
            "first_knowable": knowable,
            "reaction": self._reaction(knowable, d),
            "recorded": self._recorded(replayed, d),
            "config": {"digest": d.config, "source": ""}, "certificate": d.certificate,
        }  # fmt: skip

    def _s(self, t: int) -> float:
        assert self.start is not None
        return round(seconds(t - self.start), 3)

    def _inputs(self, t: int) -> list[dict[str, Any]]:
        """List every expected input and every one that came, with its age at the tick and what is allowed."""
        listed = []
        for name, topic in input_topics(self.config).items():
            heard, limit = self.heard_at.get(name), timeout(name, self.config)
            sensor = dict(self.config.sensors).get(name)
            latency = sensor.latency if sensor else 0.0
            entry: dict[str, Any] = {"input": name, "topic": topic, "stamp": None, "age_s": None, "period_s": None,
                                     "transport_s": None, "latency_s": latency, "allowed_s": limit}  # fmt: skip
            if heard:
                span = seconds(heard.stamp - heard.first)
                entry |= {
                    "stamp": heard.stamp, "age_s": round(seconds(t - heard.stamp) + latency, 6),
                    "period_s": round(span / (heard.messages - 1), 6) if heard.messages > 1 else None,
                    "transport_s": round(seconds(heard.arrived - heard.stamp), 6),
                }  # fmt: skip
            entry["fresh"] = entry["age_s"] is not None and entry["age_s"] <= limit + latency
            listed.append(entry)
        return listed

    def _at_onset(self) -> Step:
        assert self.at is not None
        return next((s for s in self.past if s.decision.t == self.onset), self.at)

    def _knowable(self) -> dict[str, Any] | None:
        """Return the first moment at which the decision could have been made; None while the plan passes."""
        onset = self._at_onset().decision
        if onset.mode <= Mode.NOMINAL:
            return None
        threat = decisive(onset)
        if threat is not None and threat.demand > Mode.NOMINAL and threat.track is not None:
            return self._knowable_object(onset, threat)
        if threat is None or threat.demand <= Mode.NOMINAL:
            return self._knowable_input(onset)
        first = next((s.decision for s in self.past if arc_seen(s.decision, threat.source)), onset)
        return self._known_at(first.t, onset, f"{threat.source} first heard an echo")

    def _knowable_object(self, onset: Decision, threat: Threat) -> dict[str, Any]:
        """Judge each tick again as if its first detection were believed."""
        assert threat.track is not None
        steps = [s for s in self.past if s.decision.t <= onset.t]
        called = names([s.decision for s in steps], threat.track)
        seen = [(s, c) for s, c in zip(steps, called, strict=True) if c & set(map(int, s.decision.tracks.id))]
        eager = believing(self.config)
        able = onset
        for step, by in seen:
            _, judged = supervisor.step(step.before, step.inputs, step.decision.t, eager)
            if demands(judged, threat, by):
                able = step.decision
                break
        later = ((s.decision, by) for s, by in seen if s.decision.t >= able.t)
        sure = next((d for d, by in later if demands(d, threat, by)), onset)
        result = self._known_at(able.t, onset, f"track {threat.track} would have demanded {threat.demand.name} "
                                               "if its first detections had been believed")  # fmt: skip
        born, by = seen[0] if seen else (None, frozenset({threat.track}))
        first = born.decision if born else onset
        row = next((r for r in map(partial(row_of, first), by) if r is not None), None)
        detected = int(first.tracks.updated[row]) if row is not None else onset.t
        return result | {
            "track": threat.track, "first_detection_t": detected, "first_detection_s": self._s(detected),
            "older_than_window": bool(born is steps[0] and row is not None and first.tracks.hits[row] > 1),
            "authority_t": sure.t, "authority_s": self._s(sure.t),
        }  # fmt: skip

    def _knowable_input(self, onset: Decision) -> dict[str, Any] | None:
        """Of a lost input: when its next message was due."""
        blamed = next((f for f in onset.health.findings if onset.reasons and f.code == onset.reasons[0].code), None)
        heard = self.heard_at.get(blamed.source) if blamed else None
        if blamed is None or heard is None or heard.messages < 2 or not blamed.code.name.endswith("STALE"):
            return self._known_at(onset.t, onset, "the tick of the decision itself")
        period = seconds(heard.stamp - heard.first) / (heard.messages - 1)
        due = min(heard.stamp + nanoseconds(period), onset.t)
        return self._known_at(due, onset, f"the next message of {blamed.source} was due after {period:.3f} s")

    def _known_at(self, t: int, onset: Decision, why: str) -> dict[str, Any]:
        earlier = seconds(onset.t - t)
        speed = abs(onset.ego.speed) if onset.ego else math.nan
        return {"t": t, "at_s": self._s(t), "decided_t": onset.t, "decided_s": self._s(onset.t),
                "earlier_s": round(earlier, 3), "travelled_m": _r(speed * earlier), "why": why}  # fmt: skip

    def _reaction(self, knowable: dict[str, Any] | None, d: Decision) -> dict[str, Any] | None:
        """Return where the time went from the moment at which it could have known to the brakes' full force."""
        if knowable is None:
            return None
        onset, config = self._at_onset().decision, self.config
        source = sensor_of(decisive(onset), onset, config)
        entry = next((i for i in self._inputs(onset.t) if i["input"] == source), None)
        sure = knowable.get("authority_t", knowable["t"])
        brake, jerk = manoeuvre(onset.mode, config)
        parts = {
            "sensor_s": entry["period_s"] if entry else None,
            "latency_s": round(max(entry["transport_s"] or 0.0, 0.0) + entry["latency_s"], 6) if entry else None,
            "confirmation_s": round(seconds(sure - knowable["t"]), 6),
            "decision_s": round(seconds(onset.t - sure), 6),
            "actuation_s": round(config.timing.actuation_delay + brake / jerk, 6),
        }
        total = sum(v for v in parts.values() if v is not None)
        speed = abs(onset.ego.speed) if onset.ego else math.nan
        return {"sensor": source, **parts, "total_s": round(total, 6), "travelled_m": _r(speed * total)}

    def _followed(self, d: Decision, threat: Threat | None) -> dict[str, Any]:
        """Return what ego and the object did then, as recorded."""
        rows = [x for x in (d, *self.later) if x.ego is not None]
        stop = next((x for x in rows if x.ego and abs(x.ego.speed) < self.config.arbitration.standstill_speed), None)
        until = stop.t if stop else (rows[-1].t if rows else d.t)
        rows = [x for x in rows if x.t <= until]
        strongest = max((x.mode for x in rows), key=rank, default=d.mode)
        result: dict[str, Any] = {
            "for_s": round(seconds(until - d.t), 3),
            "stands_after_s": round(seconds(stop.t - d.t), 3) if stop else None,
            "strongest": strongest.name, "speed_end": _r(rows[-1].ego.speed) if rows and rows[-1].ego else None,
            "deceleration_max": hardest(rows), "closest_m": None, "closest_after_s": None,
        }  # fmt: skip
        if threat is not None and threat.track is not None:
            met = [(x.t, gap) for x in rows if (gap := apart(x, threat.track, self.config)) is not None]
            if met:
                at, closest = min(met, key=lambda m: m[1])
                result |= {"closest_m": _r(max(closest, 0.0)), "closest_after_s": round(seconds(at - d.t), 3)}
        return result

    def _recorded(self, replayed: Run, d: Decision) -> dict[str, Any] | None:
        """Return what the vehicle itself had decided at this tick, if that was recorded."""
        found = next((r for r in replayed.recorded if r.t == d.t), None)
        if found is None:
            return None
        return {"mode": found.mode, "margin_m": found.margin, "same": found.mode == d.mode.name}


def _r(value: float) -> float | None:
    return round(float(value), 3) + 0.0 if math.isfinite(value) else None
