"""An explanation as one page of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WORDS = {
    "INIT": "waiting: not every expected input has arrived, no plan is passed",
    "NOMINAL": "the policy's plan passes",
    "SPEED_CAP": "the plan passes at a lower speed",
    "COMFORT_STOP": "the plan is replaced by a comfortable stop",
    "FIRM_STOP": "the plan is replaced by a firm stop",
    "EMERGENCY_STOP": "the plan is replaced by an emergency stop",
    "UNABLE": "ego's own motion is unknown: strongest braking",
    "STANDSTILL": "held at standstill",
}
RULES = {
    "ENVELOPE": "worst-case envelope (proved)",
    "NEAR_FIELD": "worst-case near field (proved)",
    "EXPECTED_MOTION": "expected motion: the braking that is needed",
    "TTC": "least time to collision",
    "EXTRAPOLATION": "worst case along the present motion",
    "CROSSING": "who comes from the side (proved)",
    "CUT_IN": "who comes into the way",
    "CLEAR_DISTANCE": "assured clear distance",
}


def lines(e: dict[str, Any]) -> Iterator[str]:
    """Yield the page."""
    at = e["at"]
    yield f"{e['bag']} at {at['at_s']:.3f} s ({at['t']} ns)"
    yield f"{e['mode']}, verdict {e['verdict']}: {WORDS.get(e['mode'], '')}; in force since {at['since_s']:.3f} s"
    if e["recorded"]:
        same = "the same" if e["recorded"]["same"] else f"{e['recorded']['mode']}, another"
        yield f"the vehicle itself had decided {same} mode"
    why = [f"{r['code']}: {r['text']}" for r in e["reasons"]]
    yield from _section("why", why or ["nothing speaks against the plan"])
    yield from _section("health", [f"{f['code']}: {f['text']}" for f in e["health"]["findings"]])
    yield from _section("known", _known(e))
    yield from _section("object", _object(e))
    margins = [f"{rule}: {_n(value, 'm', 2)}" for rule, value in e["margins"].items() if value is not None]
    yield from _section("margins", margins or ["nothing is in the way, or it could not be evaluated"])
    yield from _section("inputs", [_input(i) for i in e["inputs"]])
    yield from _section("what the plan would have done", _outcome(e["plan"], e["plan_source"]))
    yield from _section("what the emergency fallback does from here", _outcome(e["fallback"], "fallback"))
    yield from _section("what was commanded", _outcome(e["commanded"], "command"))
    yield from _section("what followed in the recording", _followed(e["followed"]))
    yield from _section("first moment at which it could have known", _knowable(e["first_knowable"]))
    yield from _section("reaction time", _reaction(e["reaction"]))
    yield ""
    certificate = (e["certificate"] or "none")[:12]
    yield f"parameter set {e['config']['source']} ({e['config']['digest'][:12]}), certificate {certificate}"


def _section(title: str, entries: list[str]) -> Iterator[str]:
    if entries:
        yield from ("", title, *(f"  {entry}" for entry in entries))


def _n(value: float | None, unit: str, digits: int = 1) -> str:
    return "unknown" if value is None else f"{value:.{digits}f} {unit}"


def _known(e: dict[str, Any]) -> list[str]:
    ego, known = e["ego"], e["known"]
    told = [f"{known['tracks']} tracks, {known['confirmed']} of them confirmed, {known['in_corridor']} in the "
            f"corridor; {known['arcs']} confirmed ultrasonic echoes"]  # fmt: skip
    if ego is None:
        return [*told, "ego's motion is unknown"]
    cap = "" if e["speed_cap"] is None else f", capped at {e['speed_cap']:.2f} m/s"
    return [*told, f"ego at {_n(ego['speed'], 'm/s', 2)}{cap}, demand {_n(e['acceleration'], 'm/s^2', 2)}; "
                   f"judged path: {e['plan_source']}"]  # fmt: skip


def _object(e: dict[str, Any]) -> list[str]:
    o = e["object"]
    if o is None:
        told = ["none: what decided was not an object"] if e["reasons"] else []
        beside = _facts(e["nearest"])[:1] if e["nearest"] else []
        return told + [f"nearest in the corridor: {line}" for line in beside]
    return _facts(o)


def _facts(o: dict[str, Any]) -> list[str]:
    name = f"track {o['track']}" if o["track"] is not None else f"echo of {o['source']}"
    told = [
        f"{name}, seen by {o['sensor'] or o['source']}: {_n(o['gap'], 'm')} ahead, {_n(o['lateral'], 'm', 2)} beside "
        f"the path, closing at {_n(o['closing_speed'], 'm/s')}",
        f"rule {o['code']}, {RULES.get(o['code'], o['code'])}: demands {o['demand']}; "
        f"worst-case margin {_n(o['margin'], 'm', 2)}, needs {_n(o['required'], 'm/s^2', 2)} of braking"
        + (f", constant-velocity time to collision {o['ttc']:.1f} s" if o["ttc"] is not None else ""),
    ]
    if "existence" in o:
        kind = "has been seen moving" if o["moved"] else "has never moved"
        told.append(f"existence {o['existence']:.6f} from {o['detections']} detections, the newest "
                    f"{_n(o['age_s'], 's', 3)} old; {kind}; position known to {_n(o['sigma_position_m'], 'm', 2)}, "
                    f"speed to {_n(o['sigma_speed'], 'm/s', 2)} (1 sd)")  # fmt: skip
    return told


def _input(i: dict[str, Any]) -> str:
    if i["age_s"] is None:
        return f"{i['input']} ({i['topic']}): never received"
    state = "" if i["fresh"] else "  STALE"
    rate = f", every {i['period_s'] * 1e3:.0f} ms" if i["period_s"] else ""
    return (f"{i['input']} ({i['topic']}): {i['age_s'] * 1e3:.0f} ms old, allowed {i['allowed_s'] * 1e3:.0f} ms; "
            f"{i['transport_s'] * 1e3:.0f} ms from stamp to arrival{rate}{state}")  # fmt: skip


def _outcome(o: dict[str, Any] | None, source: str) -> list[str]:
    if o is None:
        return ["nothing: there is none"] if source != "command" else []
    told = [f"{_n(o['length_m'], 'm')} in {_n(o['horizon_s'], 's')}, from {_n(o['speed_start'], 'm/s')} to "
            f"{_n(o['speed_end'], 'm/s')}" + ("" if o["stops_after_s"] is None else
                                             f", standing after {o['stops_after_s']:.1f} s")]  # fmt: skip
    if source == "extrapolation":
        told[0] = f"no plan; the present motion: {told[0]}"
    beyond = ", beyond its end at its last speed" if o["beyond_end"] else ""
    if o["contact_after_s"] is not None:
        told.append(f"contact with the object after {o['contact_after_s']:.2f} s at {_n(o['impact_speed'], 'm/s')}"
                    f"{beyond}, if the object keeps its velocity")  # fmt: skip
    elif o["closest_m"] is not None:
        told.append(f"no contact, if the object keeps its velocity: closest {o['closest_m']:.2f} m after "
                    f"{o['closest_after_s']:.1f} s{beyond}")  # fmt: skip
    return told


def _followed(f: dict[str, Any]) -> list[str]:
    end = f"stands after {f['stands_after_s']:.2f} s" if f["stands_after_s"] is not None else (
        f"{_n(f['speed_end'], 'm/s')} {f['for_s']:.1f} s later, where this page ends")
    told = [f"ego {end}; braked with up to {_n(f['deceleration_max'], 'm/s^2')} (mean of half a second); "
            f"strongest mode {f['strongest']}"]  # fmt: skip
    if f["closest_m"] is not None:
        told.append(f"closest to the object: {f['closest_m']:.2f} m, {f['closest_after_s']:.2f} s later")
    return told


def _knowable(k: dict[str, Any] | None) -> list[str]:
    if k is None:
        return []
    told = [f"{k['at_s']:.3f} s, that is {k['earlier_s']:.3f} s before the decision at {k['decided_s']:.3f} s "
            f"({_n(k['travelled_m'], 'm')} of way): {k['why']}"]  # fmt: skip
    if "first_detection_s" in k:
        since = "at least since" if k["older_than_window"] else "from"
        told.append(f"detected {since} {k['first_detection_s']:.3f} s; sure enough to ask for it from "
                    f"{k['authority_s']:.3f} s")  # fmt: skip
    return told


def _reaction(r: dict[str, Any] | None) -> list[str]:
    if r is None:
        return []
    parts = (
        ("sensor_s", f"sensor: one period of {r['sensor']}, at most waited for"),
        ("latency_s", "latency: from measurement to arrival"),
        ("confirmation_s", "confirmation: until the evidence was sure enough"),
        ("decision_s", "decision: until it was decided (debounce, timeout, tick)"),
        ("actuation_s", "actuation: delay and ramp of the manoeuvre, as declared"),
    )
    told = [f"{'unknown' if r[key] is None else format(r[key] * 1e3, '6.0f')} ms  {text}" for key, text in parts]
    return [*told, f"{r['total_s'] * 1e3:6.0f} ms  altogether, {_n(r['travelled_m'], 'm')} at that speed"]
