"""One job: a recording replayed under one parameter set, and what of it goes into the tables. Runs in a worker."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Mode, seconds
from safety_supervisor.fleet.jobs import Job
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay.bag import open_bags
from safety_supervisor.replay.inputs import Options, Prepared, prepare
from safety_supervisor.replay.replay import scenario_outcome
from safety_supervisor.replay.results import QUIET, Collector, rank, summary

INPUTS = ("PLAN", "ODOMETRY", "RADAR", "ULTRASONIC", "DRIVER", "INPUT", "CLOCK", "INTERNAL")
"""Codes that begin so tell of an input and not of an object."""
DOMAIN = ("OUT_OF_ODD", "CLEAR_DISTANCE")
STEP_MAX = 1.0
"""Ticks further apart than this [s] are a gap of the recording and no distance driven."""

Result = dict[str, Any]
"""`run`, `interventions`, `findings` and `processing` of one job, as rows of the tables."""


def examine(job: Job) -> Result:
    """Return the rows of one job. Never raises: what goes wrong is a failed run with its reason in one line."""
    began, cpu = time.perf_counter(), time.process_time()
    try:
        result = _replayed(job)
    except Exception as error:  # whatever a recording does to us must not stop the others
        result = failed(job, _told(job, error))
    result["processing"] = {
        **_names(job), "wall_s": round(time.perf_counter() - began, 4), "cpu_s": round(time.process_time() - cpu, 4),
        "bytes": _size(job), "duration_s": result["run"]["duration_s"],
    }  # fmt: skip
    return result


def _told(job: Job, error: Exception) -> str:
    """Return an error in one line, without the folder that the recording happens to lie in."""
    text = " ".join(str(error).split()) or type(error).__name__
    for path in job.drive.paths:
        text = text.replace(str(path), path.name)
    return text


def failed(job: Job, why: str) -> Result:
    """Return the rows of a job that came to nothing."""
    run = {**_names(job), "status": "failed", "error": why, "duration_s": 0.0}
    processing = {**_names(job), "wall_s": 0.0, "cpu_s": 0.0, "bytes": _size(job), "duration_s": 0.0}
    return {"run": run, "interventions": [], "findings": [], "processing": processing}


def _names(job: Job) -> dict[str, str]:
    return {"bag": job.drive.name, "parameters": job.parameters.name}


def _size(job: Job) -> int:
    try:
        return job.drive.size
    except OSError:
        return 0


def _replayed(job: Job) -> Result:
    options = Options(config=job.config, values=job.parameters.values, mapping=job.mapping)
    with open_bags(job.drive.paths) as bag:
        ready = prepare(bag, options)
        watch, collector, digest = Watch(ready.run.config), Collector(), hashlib.sha256()
        for decision in ready.run.decisions():
            digest.update(json_line(decision_record(decision)).encode(errors="surrogatepass") + b"\n")
            collector.add(decision)
            watch.add(decision)
        outcome = scenario_outcome(bag)
    if not collector.ticks:
        raise ValueError("no ticks: none of the messages it has is an input")
    report = summary(ready.run, collector, ready.source, ready.notes, {})
    needed = _truth(outcome)
    interventions = list(_interventions(job, report, watch, needed))
    run = _run(job, report, ready, watch, interventions)
    run |= {"decisions_sha256": digest.hexdigest(), "scenario": (outcome or {}).get("name"), "incident": needed}
    findings = [{**_names(job), **finding} for finding in report["findings"]]
    return {"run": run, "interventions": interventions, "findings": findings}


def _truth(outcome: Any) -> bool | None:
    """Whether a simulated run has a collision without the supervisor; None where nobody knows."""
    try:
        return bool(outcome["unsupervised"]["collision"])
    except (KeyError, TypeError):
        return None


def _run(job: Job, report: dict[str, Any], ready: Prepared, watch: Watch, rows: list[dict[str, Any]]) -> dict[str, Any]:
    agreement = report.get("agreement") or {}
    return {
        **_names(job),
        "status": "ok",
        "error": None,
        "recovered": report["recovered"],
        "start": report["start"],
        "duration_s": report["duration_s"],
        "distance_m": round(watch.distance, 3),
        "ticks": report["ticks"],
        "period": report["period"],
        **{f"ticks_{name.lower()}": count for name, count in report["modes"].items()},
        "interventions": len(rows),
        "stops": sum(row["stop"] for row in rows),
        "margin_min_m": report["margin_min_m"],
        "ticks_not_evaluated": report["ticks_not_evaluated"],
        "lead_confirmed_share": report["lead_confirmed_share"],
        "plan_source": report["plan_source"],
        "missing_inputs": [lost["input"] for lost in report["inputs"]["missing"]],
        "recorded_decisions": report["recorded_decisions"],
        "same_mode_share": agreement.get("same_mode_share"),
        "config_digest": ready.run.config.digest,
        "certificate": report["certificate"],
    }


def _interventions(job: Job, report: dict[str, Any], watch: Watch, needed: bool | None) -> Iterator[dict[str, Any]]:
    for i, (entry, stop) in enumerate(zip(report["interventions"], watch.stops, strict=True)):
        mode = Mode[entry["mode"]]
        yield {
            **_names(job),
            "number": i,
            "start": entry["start"],
            "start_s": entry["start_s"],
            "end_s": entry["end_s"],
            "length_s": round(entry["end_s"] - entry["start_s"], 3),
            "mode": mode.name,
            "stop": rank(mode) >= Mode.COMFORT_STOP,
            "cause": cause(entry["code"]),
            "code": entry["code"],
            "codes": entry["codes"],
            "reason": entry["reason"],
            "track": entry["track"],
            "speed": entry["speed"],
            "margin_min_m": entry["margin_min_m"],
            "stopped_after_s": stop.stopped,
            "planned_stop_s": stop.planned,
            "needed": needed,
        }


def cause(code: str) -> str:
    """Return what a reason is about: an object, an input, or the operational design domain."""
    if code in DOMAIN:
        return "domain"
    return "input" if code.partition("_")[0] in INPUTS else "object"


@dataclass(slots=True)
class Stop:
    """How long an intervention took, or would take, to bring ego to a stand [s]; None where it did not."""

    start: int
    stopped: float | None = None
    planned: float | None = None
    """By the trajectory that the first braking tick commands."""


@dataclass(slots=True)
class Watch:
    """Sees what the summary does not keep: distance, and how each intervention stops."""

    config: Config
    distance: float = 0.0
    stops: list[Stop] = field(default_factory=list)
    _last: Decision | None = None

    def add(self, decision: Decision) -> None:
        """Take the decision of one tick."""
        last, self._last = self._last, decision
        if last is not None and last.ego is not None:
            step = seconds(decision.t - last.t)
            self.distance += abs(last.ego.speed) * step if 0 < step <= STEP_MAX else 0.0
        if decision.mode in QUIET:
            return
        if last is None or last.mode in QUIET:
            self.stops.append(Stop(decision.t))
        stop, rest = self.stops[-1], self.config.arbitration.standstill_speed
        if not decision.mode.brakes:
            return
        if stop.stopped is None and decision.ego is not None and abs(decision.ego.speed) <= rest:
            stop.stopped = round(seconds(decision.t - stop.start), 3)
        command = decision.command
        if stop.planned is None and command is not None:
            at = np.flatnonzero(np.abs(command.speed) <= rest)
            stop.planned = round(seconds(decision.t - stop.start) + float(command.time[at[0]]), 3) if len(at) else None
