"""Every object against the path that ego is about to drive.

Two envelopes, two purposes. The *worst case* (proved, `envelopes.path_margin`) decides EMERGENCY_STOP; the *expected
motion* (constant velocity, planned timing) asks for milder modes earlier, by the deceleration it would take, and only
where the plan itself does not keep clear. How much a track may demand depends on its existence (`config.Authority`).
"""

from __future__ import annotations

import numpy as np

from safety_supervisor.core.assessment.beside import abreast
from safety_supervisor.core.assessment.bodies import company
from safety_supervisor.core.assessment.caps import caps, margins_of, smallest
from safety_supervisor.core.assessment.cut_in import foreseen
from safety_supervisor.core.assessment.manoeuvres import NONE, Choice, chosen
from safety_supervisor.core.assessment.objects import Objects, heard, objects_of
from safety_supervisor.core.assessment.rating import Rated, rate, rate_present, sustain
from safety_supervisor.core.assessment.room import free_shift
from safety_supervisor.core.assessment.situation import EMERGENCY_STOP, NOMINAL, Situation
from safety_supervisor.core.assessment.threats import decisive, explain, lead_of, threats_of, told_shift
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Arc, Assessment, Code, Floats, Ints, Mode, Mrm, Reason, Threat, Tracks, Verdict

__all__ = ["RULES", "VERDICT", "Choice", "Objects", "Rated", "Situation", "assess", "chosen", "foreseen",
           "objects_of", "rate", "rate_present", "told_shift"]

VERDICT = {
    Mode.NOMINAL: Verdict.SAFE,
    Mode.SPEED_CAP: Verdict.MARGINAL,
    Mode.COMFORT_STOP: Verdict.MARGINAL,
    Mode.FIRM_STOP: Verdict.UNSAFE,
    Mode.EMERGENCY_STOP: Verdict.IMMINENT,
}

RULES = ("longitudinal", "near_field", "crossing", "lateral", "ttc", "extrapolation", "clear_distance")


def assess(tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, config: Config) -> Assessment:
    """Judge every track and arc against the path; raises nothing, NaN ends in EMERGENCY_STOP."""
    tracks = heard(tracks, config)
    objects = objects_of(tracks, arcs, situation, config)
    alone = np.zeros(len(objects.row), np.int64)
    rated, eases = foreseen(objects, rate(objects, situation.path, situation, config), situation, config, alone, 1)
    half = config.vehicle.width / 2 + objects.slack
    threats = list(threats_of(objects, rated, tracks, arcs, situation, half))
    margins = margins_of(objects, rated)
    margins["lateral"] = abreast(objects, rated.met, situation.path, situation, config)
    found, extrapolated, beside = _present_threats(objects, rated, tracks, arcs, situation, config)
    threats += found
    if situation.present is not None:
        margins["extrapolation"] = extrapolated
    cap, reasons = caps(objects, rated, situation, margins, config)
    shift = free_shift(objects, rated, arcs, situation, config)
    choice = chosen(objects, rated, beside, situation, config, alone, 1, shift != 0.0)
    stop, option = Mode(int(choice.stop[0])), int(choice.least[0])
    asked = max([r for r, _ in reasons] + [t.demand for t in threats], default=Mode.NOMINAL)
    demand = max(asked, stop)
    if stop > asked:
        reasons.insert(0, (stop, Reason(Code.ENVELOPE, f"{stop.name}: a milder stop would leave the envelope")))
    told = [explain(t) for t in sorted(threats, key=lambda t: (-t.demand, t.margin)) if t.demand > Mode.NOMINAL]
    if option != NONE:
        what = f"every stop leaves the envelope, {Mrm(option).name} has the least predicted impact"
        if option == Mrm.SHIFT:
            what = f"every stop on the path leads to contact, SHIFT {told_shift(shift)} does not"
        reasons.insert(0, (asked, Reason(Code.ENVELOPE, what)))
    worst = decisive(threats)
    smaller = float(np.minimum(margins["longitudinal"], margins["near_field"]))
    return Assessment(
        VERDICT[demand], demand, sustain(rated), smaller, tuple(margins.items()),
        worst.track if worst else None, lead_of(objects, rated, tracks, config),
        (*told, *(reason for _, reason in reasons)), tuple(threats), cap,
        bool(eases[0]) and demand < Mode.COMFORT_STOP, None if option == NONE else Mrm(option),
        shift if option == Mrm.SHIFT else 0.0,
    )  # fmt: skip


def _present_threats(
    objects: Objects, rated: Rated, tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, config: Config
) -> tuple[list[Threat], float, tuple[Ints, Floats] | None]:
    """Return what ego's present motion leads into, the smallest margin [m] there, and demand and margin of each row;
    mostly nothing is near enough.
    """
    if situation.present is None or not np.count_nonzero(rated.nears):
        return [], float("inf"), None
    rows = company(objects, rated.nears)  # the others of a body are heard beside it
    near, spared = objects.take(rows), rated.spared[rows]
    beside = rate_present(near, situation.present.path(), spared, situation, config)
    half = config.vehicle.width / 2 + near.slack
    found = [t for t in threats_of(near, beside, tracks, arcs, situation, half) if t.demand > Mode.NOMINAL]
    demand, margin = np.full(len(rows), NOMINAL), np.full(len(rows), np.inf)
    demand[rows], margin[rows] = beside.demand, beside.margin
    return found, smallest(beside.margin[beside.level >= EMERGENCY_STOP]), (demand, margin)
