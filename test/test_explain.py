"""`explain` tells what one decision rested on, in numbers that can be checked against the scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor import cli
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Plan
from safety_supervisor.replay.bag import BagError, make, open_bag
from safety_supervisor.replay.explain import explain
from safety_supervisor.replay.explain_text import lines
from safety_supervisor.replay.inputs import Options, prepare
from safety_supervisor.replay.outlook import BEYOND, Object, outcome

S = 10**9
SPEED = 15.0
FRONT = 3.7


def wall(seconds=5.0, gap=75.0, seen_from=0.0, radar_until=1e9):
    """Ego drives at constant speed towards something that stands; the radar sees it from a moment on."""
    messages = []
    for i, (topic, kind, t, message) in enumerate(drive(seconds)):
        at = (t - START) / S
        if topic == "/radar/front/tracks":
            if at > radar_until:
                continue
            aside = (90.0 + 0.01 * (i % 3), 30.0, -SPEED)  # what repeats exactly would be a frozen sensor
            ahead = (gap - SPEED * at + 0.01 * (t // S % 3), 0.0, -SPEED) if at >= seen_from else aside
            message = recordings.tracks(t, ahead)
        messages.append((topic, kind, t, message))
    return messages


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("explain") / "wall", wall())


@pytest.fixture(scope="module")
def first(scene):
    """The explanation of its first intervention, for those who look at a part of it."""
    return told(scene, "first")


def told(path, at, **options):
    with open_bag(path) as bag:
        return explain(prepare(bag, Options(**options)).run, at)


def test_the_object_the_rule_and_the_numbers_are_those_of_the_scene(first):
    e = first
    assert set(e) == recordings.documented("explain") | {"bag", "config"}
    assert e["mode"] == "EMERGENCY_STOP"
    thing = e["object"]
    ahead = 75.0 - SPEED * e["at"]["at_s"]
    assert thing["gap"] == pytest.approx(ahead, abs=2.0)
    assert thing["closing_speed"] == pytest.approx(SPEED, abs=1.0)
    assert thing["sensor"] == "radar_front"
    assert not thing["moved"]
    assert e["rule"] == thing["code"] == e["reasons"][0]["code"]
    assert e["margin_m"] == pytest.approx(thing["margin"], abs=1e-3)
    assert e["ego"]["speed"] == pytest.approx(SPEED, abs=0.01)


def test_inputs_have_the_ages_of_the_recording(scene):
    e = told(scene, "2.02")
    assert e["at"]["t"] == START + 2 * S
    ages = {i["input"]: i["age_s"] for i in e["inputs"]}
    assert ages == {"odometry": 0.0, "plan": 0.0, "radar_front": 0.0}
    periods = {i["input"]: i["period_s"] for i in e["inputs"]}
    assert periods == pytest.approx({"odometry": 0.02, "plan": 0.1, "radar_front": 0.1})
    assert all(i["fresh"] for i in e["inputs"])


def test_plan_and_fallback_lead_where_they_lead(first):
    e = first
    plan, fallback = e["plan"], e["fallback"]
    assert plan["impact_speed"] == pytest.approx(SPEED, abs=1.0)
    assert plan["contact_after_s"] == pytest.approx((e["object"]["gap"] - 0.5) / SPEED, abs=0.3)
    assert fallback["stops_after_s"] == pytest.approx(SPEED / 7 + 0.5, abs=0.6)
    assert fallback["speed_end"] == pytest.approx(0.0, abs=0.01)


def test_it_could_have_known_when_the_first_detections_would_have_been_believed(tmp_path):
    late = write(tmp_path / "late", wall(seen_from=3.2))
    e = told(late, "first")
    known = e["first_knowable"]
    assert known["first_detection_s"] == pytest.approx(3.2, abs=0.06)
    assert known["first_detection_s"] <= known["at_s"] < known["decided_s"]
    assert known["authority_s"] >= known["at_s"]
    assert known["earlier_s"] == pytest.approx(known["decided_s"] - known["at_s"], abs=1e-3)
    assert known["travelled_m"] == pytest.approx(SPEED * known["earlier_s"], abs=0.1)
    reaction = e["reaction"]
    parts = [reaction[f"{name}_s"] for name in ("sensor", "latency", "confirmation", "decision", "actuation")]
    assert reaction["total_s"] == pytest.approx(sum(parts), abs=1e-5)
    assert reaction["confirmation_s"] + reaction["decision_s"] == pytest.approx(known["earlier_s"], abs=1e-3)
    assert reaction["confirmation_s"] > 0.0
    wary = told(late, "first", values=["authority.hits=5"])
    assert wary["first_knowable"]["at_s"] == known["at_s"]  # the same evidence, believed later
    assert wary["reaction"]["confirmation_s"] > reaction["confirmation_s"]


def test_an_object_that_came_back_is_followed_through_its_other_number(tmp_path):
    """Seen, hidden for longer than a track lives, seen again near: its number returns some detections later."""
    messages = []
    for topic, kind, t, message in wall(seconds=7.5, gap=110.0):
        at = (t - START) / S
        if topic == "/radar/front/tracks" and 1.0 <= at < 5.6:
            message = recordings.tracks(t, (90.0, 30.0, -SPEED))
        messages.append((topic, kind, t, message))
    path = write(tmp_path / "hidden", messages)
    e = told(path, "first")
    with open_bag(path) as bag:
        steps = list(prepare(bag, Options()).run.steps())
    near = [[int(i) for i, s in zip(x.decision.tracks.id, x.decision.tracks.state, strict=True)
             if abs(s[0] - 113.7) < 3.0 and abs(s[1]) < 3.0] for x in steps]  # fmt: skip
    back = next(x.decision.t for x, ids in zip(steps, near, strict=True) if ids and x.decision.t > START + 5.5 * S)
    other = next(ids for x, ids in zip(steps, near, strict=True) if x.decision.t == back)
    assert e["object"]["track"] not in other, "the control: it did come back under another number"
    assert e["first_knowable"]["t"] == back
    assert e["first_knowable"]["first_detection_s"] < 1.0, "and it is the one that was seen at the beginning"


def test_a_lost_input_could_have_been_known_when_its_next_message_was_due(tmp_path):
    path = write(tmp_path / "blind", wall(seconds=3.0, gap=190.0, radar_until=1.0))
    e = told(path, "first")
    assert e["reasons"][0]["code"] == "RADAR_STALE"
    assert e["object"] is None
    assert e["first_knowable"]["at_s"] == pytest.approx(1.1, abs=0.01)
    assert "radar_front" in e["first_knowable"]["why"]
    radar = next(i for i in e["inputs"] if i["input"] == "radar_front")
    assert not radar["fresh"]
    assert e["reaction"]["sensor"] == "radar_front"


def test_of_a_lost_plan_the_nearest_object_is_told_beside_it(tmp_path):
    messages = [m for m in drive(4.0) if m[0] != "/policy/trajectory" or m[2] < START + 2 * S]
    e = told(write(tmp_path / "ends", messages), "first")
    assert e["reasons"][0]["code"] == "PLAN_STALE"
    assert e["object"] is None
    assert e["nearest"]["gap"] == pytest.approx(60.0, abs=2.0)
    assert e["fallback"]["closest_m"] > 40.0
    assert any("nearest in the corridor" in line for line in lines(e))


def test_while_the_plan_passes_there_is_nothing_to_have_known(tmp_path):
    e = told(write(tmp_path / "quiet", drive()), "2")
    assert e["mode"] == "NOMINAL"
    assert e["first_knowable"] is e["reaction"] is None
    assert e["object"]["gap"] == pytest.approx(60.0 - FRONT + 3.7, abs=4.0)
    assert e["plan"]["contact_after_s"] is None


def test_what_followed_is_what_was_recorded(first):
    e = first
    assert e["followed"]["stands_after_s"] is None  # ego in this recording drives on
    assert e["followed"]["speed_end"] == pytest.approx(SPEED, abs=0.1)
    assert e["followed"]["deceleration_max"] == pytest.approx(0.0, abs=0.5)
    assert e["followed"]["closest_m"] < 5.0


@pytest.mark.parametrize(
    ("at", "why"),
    [("i7", "there are 1 interventions"), ("99", "after the last tick"), ("-3", "before the first tick"),
     ("soon", "is no time"), ("i0", "the first is i1")],
)  # fmt: skip
def test_a_moment_that_is_not_there_is_refused(scene, at, why):
    with pytest.raises(BagError, match=why):
        told(scene, at)


def test_without_intervention_first_is_refused(tmp_path):
    with pytest.raises(BagError, match="no intervention"):
        told(write(tmp_path / "quiet", drive()), "first")


def test_one_moment_named_in_many_ways_is_one_tick(scene, first):
    by_number, t = first, first["at"]["t"]
    for at in ("i1", "last", str(t), f"{(t - START) / S}"):
        e = told(scene, at)
        assert e["at"]["t"] == t
        assert {**e, "at": None} == {**by_number, "at": None}


def test_the_command_prints_a_page_or_json(scene, capsys):
    assert cli.main(["explain", str(scene), "--at", "first"]) == 0
    page = capsys.readouterr().out
    for part in ("why", "inputs", "what the plan would have done", "could have known", "reaction time", "ENVELOPE"):
        assert part in page
    assert cli.main(["explain", str(scene), "--at", "first", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "EMERGENCY_STOP"


def test_the_recorded_decision_stands_beside_it(tmp_path, scene):
    cli.main(["replay", str(scene), "--quiet", "--no-report", "--out", str(tmp_path / "out")])
    rows = [json.loads(line) for line in (tmp_path / "out" / "decisions.jsonl").read_text().splitlines()]
    recorded = [
        ("/safety/decision", recordings.STRING, row["t"] + 3,
         make(recordings.STRING, {"data": json.dumps({**row, "mode": "NOMINAL"})})) for row in rows
    ]  # fmt: skip
    e = told(write(tmp_path / "with", sorted([*wall(), *recorded], key=lambda m: m[2])), "first")
    assert e["recorded"] == {"mode": "NOMINAL", "margin_m": e["recorded"]["margin_m"], "same": False}
    assert any("another" in line for line in lines({**e, "config": {"digest": "x", "source": "y"}}))


# --- what a trajectory leads to -------------------------------------------------------------------------------


def straight(speed, seconds=4.0, end=None):
    time = np.linspace(0, seconds, 41)
    v = np.linspace(speed, speed if end is None else end, 41)
    x = np.concatenate([[0], np.cumsum((v[1:] + v[:-1]) / 2 * np.diff(time))])
    return Plan(0, time, x, np.zeros(41), np.zeros(41), v)


def test_a_plan_meets_a_standing_object_when_its_bumper_does():
    met = outcome(straight(10.0), 0, Object(0, 30.0, 0.0, 0.0, 0.0, 0.5), Config())
    assert met["contact_after_s"] == pytest.approx((30 - FRONT - 0.5) / 10, abs=0.06)
    assert met["impact_speed"] == pytest.approx(10.0)
    assert not met["beyond_end"]
    beside = outcome(straight(10.0), 0, Object(0, 30.0, 3.0, 0.0, 0.0, 0.5), Config())
    assert beside["contact_after_s"] is None
    assert beside["closest_m"] == pytest.approx(3.0 - 0.93 - 0.5, abs=0.01)


def test_a_moving_object_is_met_with_the_difference_in_speed():
    met = outcome(straight(20.0), 0, Object(0, 30.0, 0.0, 12.0, 0.0, 0.5), Config())
    assert met["impact_speed"] == pytest.approx(8.0)
    assert met["contact_after_s"] == pytest.approx((30 - FRONT - 0.5) / 8, abs=0.06)
    away = outcome(straight(20.0), 0, Object(0, 30.0, 0.0, 25.0, 0.0, 0.5), Config())
    assert away["contact_after_s"] is None


def test_beyond_its_end_a_moving_plan_goes_straight_on_and_a_stopped_one_stays():
    met = outcome(straight(10.0), 0, Object(0, 60.0, 0.0, 0.0, 0.0, 0.5), Config())
    assert met["beyond_end"]
    assert 4.0 < met["contact_after_s"] < 4.0 + BEYOND
    assert met["horizon_s"] == pytest.approx(4.0)
    stopped = outcome(straight(10.0, end=0.0), 0, Object(0, 60.0, 0.0, 0.0, 0.0, 0.5), Config())
    assert stopped["contact_after_s"] is None
    assert stopped["stops_after_s"] == pytest.approx(4.0, abs=0.06)
