"""The table is total, every rule holds in every case, broken twins are caught, and the timers run as declared."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from builders import CONFIG, config

from safety_supervisor.core import arbitration
from safety_supervisor.core.arbitration import DEMANDS, REQUIRED, TRUST, Arbiter, Facts, arbitrate, next_mode, rebased
from safety_supervisor.core.world import Mode, Severity, nanoseconds

FACTS = [Facts(*values) for values in product(DEMANDS, Severity, *[(False, True)] * 4)]
CASES = [(mode, latched, facts) for mode in Mode for latched in (False, True) for facts in FACTS]
URGENT = (Mode.EMERGENCY_STOP, Mode.UNABLE)


def required(facts):
    return max(facts.demand, TRUST[facts.severity])


# --- rules, each a predicate over one transition ---------------------------------------------------------------------


def a_driver_is_respected_at_once(mode, latched, facts, new, now_latched):
    return not facts.driver or (new, now_latched) == (Mode.INIT, False)


def init_ends_only_with_complete_and_trusted_inputs(mode, latched, facts, new, now_latched):
    return mode != Mode.INIT or facts.driver or (new == Mode.INIT) == (facts.severity != Severity.OK)


def only_a_driver_leads_back_to_init(mode, latched, facts, new, now_latched):
    return new != Mode.INIT or facts.driver or mode == Mode.INIT


def nothing_is_milder_than_what_is_required(mode, latched, facts, new, now_latched):
    return facts.driver or new == Mode.INIT or new == Mode.STANDSTILL or new >= required(facts)


def standstill_is_entered_only_at_rest_and_by_braking(mode, latched, facts, new, now_latched):
    return new != Mode.STANDSTILL or mode == Mode.STANDSTILL or (facts.standstill and mode.brakes)


def nothing_de_escalates_before_the_dwell(mode, latched, facts, new, now_latched):
    if facts.driver or facts.dwelt or Mode.STANDSTILL in (mode, new):
        return True
    return new >= mode


def nothing_de_escalates_while_its_demand_holds(mode, latched, facts, new, now_latched):
    if facts.driver or Mode.STANDSTILL in (mode, new) or Mode.INIT in (mode, new):
        return True
    return new >= mode or required(facts) < mode


def lost_or_refused_inputs_never_yield_nominal(mode, latched, facts, new, now_latched):
    return new != Mode.NOMINAL or facts.severity == Severity.OK


def an_emergency_is_remembered(mode, latched, facts, new, now_latched):
    remembered_before = latched or mode not in URGENT  # the other states cannot be reached, see below
    return not remembered_before or new not in URGENT or now_latched


def an_emergency_ends_only_at_rest_by_release_or_by_the_driver(mode, latched, facts, new, now_latched):
    if not latched or now_latched or facts.driver:
        return True
    return mode == Mode.STANDSTILL and facts.standstill and facts.release and facts.dwelt and new <= Mode.SPEED_CAP


def after_an_emergency_ego_keeps_braking(mode, latched, facts, new, now_latched):
    return not (now_latched and mode != Mode.INIT) or facts.driver or new.brakes


def standstill_is_left_only_when_calm(mode, latched, facts, new, now_latched):
    if mode != Mode.STANDSTILL or facts.driver or new == Mode.STANDSTILL:
        return True
    rolling = not facts.standstill and new >= Mode.FIRM_STOP
    blind = new == Mode.UNABLE and required(facts) == Mode.UNABLE
    return rolling or blind or (facts.dwelt and required(facts) <= Mode.SPEED_CAP)


def blindness_brakes_in_every_running_mode(mode, latched, facts, new, now_latched):
    return facts.severity != Severity.BLIND or facts.driver or mode == Mode.INIT or new == Mode.UNABLE


def braking_ends_in_standstill(mode, latched, facts, new, now_latched):
    if not (mode.brakes and facts.standstill) or facts.driver or required(facts) == Mode.UNABLE:
        return True
    return mode == Mode.STANDSTILL or new == Mode.STANDSTILL


RULES = [
    a_driver_is_respected_at_once, init_ends_only_with_complete_and_trusted_inputs, only_a_driver_leads_back_to_init,
    nothing_is_milder_than_what_is_required, standstill_is_entered_only_at_rest_and_by_braking,
    nothing_de_escalates_before_the_dwell, nothing_de_escalates_while_its_demand_holds,
    lost_or_refused_inputs_never_yield_nominal, an_emergency_is_remembered,
    an_emergency_ends_only_at_rest_by_release_or_by_the_driver, after_an_emergency_ego_keeps_braking,
    standstill_is_left_only_when_calm, blindness_brakes_in_every_running_mode, braking_ends_in_standstill,
]  # fmt: skip


def violations(rule, step=next_mode):
    return [case for case in CASES if not rule(*case, *step(*case))]


def test_the_table_is_total():
    assert set(REQUIRED) == set(product(DEMANDS, Severity))
    assert set(TRUST) == set(Severity)
    assert len(CASES) == len(Mode) * 2 * len(DEMANDS) * len(Severity) * 16
    for (demand, severity), mode in REQUIRED.items():
        assert mode == max(demand, TRUST[severity])


def test_every_case_has_an_answer_among_the_modes():
    for case in CASES:
        mode, latched = next_mode(*case)
        assert isinstance(mode, Mode)
        assert isinstance(latched, bool)


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_rule_holds_in_every_case(rule):
    assert violations(rule) == []


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_can_be_reached_and_left(mode):
    after = {next_mode(*case)[0] for case in CASES if case[0] == mode}
    assert any(next_mode(*case)[0] == mode for case in CASES)
    assert after != {mode}


# --- twins that are wrong in one point, each caught by its rule ------------------------------------------------------


def twin(change):
    def step(mode, latched, facts):
        return change(mode, latched, facts, *next_mode(mode, latched, facts))
    return step


TWINS = {
    "driver ignored in standstill": (a_driver_is_respected_at_once, lambda m, was, f, new, now: (
        (m, was) if f.driver and m == Mode.STANDSTILL else (new, now))),
    "driver keeps the latch": (a_driver_is_respected_at_once, lambda m, was, f, new, now: (
        (new, was) if f.driver else (new, now))),
    "suspect inputs end init": (init_ends_only_with_complete_and_trusted_inputs, lambda m, was, f, new, now: (
        (Mode.SPEED_CAP, now) if m == Mode.INIT and f.severity == Severity.SUSPECT and not f.driver else (new, now))),
    "calm leads to init": (only_a_driver_leads_back_to_init, lambda m, was, f, new, now: (
        (Mode.INIT, now) if new == Mode.NOMINAL else (new, now))),
    "firm instead of emergency": (nothing_is_milder_than_what_is_required, lambda m, was, f, new, now: (
        (Mode.FIRM_STOP, now) if new == Mode.EMERGENCY_STOP else (new, now))),
    "standstill while rolling": (standstill_is_entered_only_at_rest_and_by_braking, lambda m, was, f, new, now: (
        (Mode.STANDSTILL, now) if m == Mode.COMFORT_STOP and new == Mode.COMFORT_STOP else (new, now))),
    "no dwell": (nothing_de_escalates_before_the_dwell, lambda m, was, f, new, now: next_mode(
        m, was, Facts(f.demand, f.severity, f.driver, f.standstill, f.release, True))),
    "lets go while demanded": (nothing_de_escalates_while_its_demand_holds, lambda m, was, f, new, now: (
        (Mode.COMFORT_STOP, now) if m == new == Mode.FIRM_STOP and f.dwelt else (new, now))),
    "suspect inputs are nominal": (lost_or_refused_inputs_never_yield_nominal, lambda m, was, f, new, now: (
        (Mode.NOMINAL, now) if new == Mode.SPEED_CAP and f.severity == Severity.SUSPECT else (new, now))),
    "emergency forgotten": (an_emergency_is_remembered, lambda m, was, f, new, now: (new, False)),
    "no release needed": (an_emergency_ends_only_at_rest_by_release_or_by_the_driver, lambda m, was, f, new, now: (
        next_mode(m, was, Facts(f.demand, f.severity, f.driver, f.standstill, True, f.dwelt)))),
    "coasts after an emergency": (after_an_emergency_ego_keeps_braking, lambda m, was, f, new, now: (
        (Mode.SPEED_CAP, now) if now and new == Mode.COMFORT_STOP else (new, now))),
    "standstill left at once": (standstill_is_left_only_when_calm, lambda m, was, f, new, now: (
        (Mode.NOMINAL, now) if m == new == Mode.STANDSTILL and not now else (new, now))),
    "blind but comfortable": (blindness_brakes_in_every_running_mode, lambda m, was, f, new, now: (
        (Mode.COMFORT_STOP, now) if new == Mode.UNABLE else (new, now))),
    "never at rest": (braking_ends_in_standstill, lambda m, was, f, new, now: (
        (m, now) if new == Mode.STANDSTILL and m != Mode.STANDSTILL else (new, now))),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_that_is_wrong_in_one_point_is_caught(name):
    rule, change = TWINS[name]
    assert violations(rule, twin(change))


def test_every_rule_catches_a_twin():
    assert {rule for rule, _ in TWINS.values()} == set(RULES)


@pytest.mark.parametrize(("severity", "weaker"), [
    (Severity.BLIND, Mode.COMFORT_STOP), (Severity.DEGRADED, Mode.NOMINAL), (Severity.SUSPECT, Mode.NOMINAL),
])
def test_a_weaker_table_is_caught(monkeypatch, severity, weaker):
    broken = {key: (max(key[0], weaker) if key[1] == severity else mode) for key, mode in REQUIRED.items()}
    monkeypatch.setattr(arbitration, "REQUIRED", broken)
    assert any(violations(rule) for rule in RULES)


def reachable(step=next_mode):
    """Every (mode, latched) that can follow from the start."""
    seen, todo = {(Mode.INIT, False)}, [(Mode.INIT, False)]
    while todo:
        state = todo.pop()
        new = {step(*state, facts) for facts in FACTS} - seen
        seen |= new
        todo += new
    return seen


def test_from_an_emergency_there_is_a_way_back_and_it_leads_through_standstill():
    assert (Mode.NOMINAL, False) in reachable()
    assert (Mode.NOMINAL, True) not in reachable()
    assert (Mode.SPEED_CAP, True) not in reachable()
    assert (Mode.INIT, True) not in reachable()
    assert not {(mode, False) for mode in URGENT} & reachable()
    skips = {next_mode(mode, True, facts) for mode in URGENT for facts in FACTS if not facts.driver}
    assert all(mode.brakes and latched for mode, latched in skips)


# --- timers ---------------------------------------------------------------------------------------------------------

PERIOD = nanoseconds(CONFIG.timing.period)
OK = Severity.OK


class Clock:
    """Calls `arbitrate` once a period, at 10 m/s with good inputs unless said otherwise."""

    def __init__(self, by=CONFIG):
        self.by, self.t, self.arbiter = by, 0, Arbiter()
        self.for_(0.2)

    def tick(self, demand=Mode.NOMINAL, sustain=Mode.NOMINAL, severity=OK, driver=False, release=False, speed=10.0):
        self.t += PERIOD
        self.arbiter = arbitrate(self.arbiter, demand, sustain, severity, (driver, release), speed, self.t, self.by)
        return self.arbiter.mode

    def for_(self, duration, **keywords):
        for _ in range(round(duration / self.by.timing.period)):
            mode = self.tick(**keywords)
        return mode

    def until(self, mode, **keywords):
        """Time [s] until `mode` is entered."""
        start = self.t
        for _ in range(1000):
            if self.tick(**keywords) == mode:
                return (self.t - start) / 1e9
        raise AssertionError(f"{mode} is never entered")


X, A = CONFIG.expected, CONFIG.arbitration


def test_good_inputs_lead_to_nominal():
    assert Clock().arbiter.mode == Mode.NOMINAL


def test_an_emergency_acts_in_the_same_tick():
    assert Clock().tick(Mode.EMERGENCY_STOP) == Mode.EMERGENCY_STOP


@pytest.mark.parametrize("demand", [Mode.SPEED_CAP, Mode.COMFORT_STOP, Mode.FIRM_STOP])
def test_a_milder_demand_must_last_for_the_on_time(demand):
    assert Clock().until(demand, demand=demand) == pytest.approx(X.on_time + CONFIG.timing.period)
    flicker = Clock()
    for _ in range(20):
        flicker.tick(demand)
        assert flicker.tick() == Mode.NOMINAL


def test_what_was_demanded_in_init_does_not_outlast_it():
    clock = Clock()
    clock.tick(driver=True)
    clock.for_(1.0, demand=Mode.FIRM_STOP, severity=Severity.WAITING)
    assert clock.tick() == Mode.NOMINAL
    clock.tick(driver=True)
    clock.for_(1.0, demand=Mode.FIRM_STOP, severity=Severity.WAITING)
    assert clock.tick(Mode.FIRM_STOP) == Mode.FIRM_STOP


def test_lost_inputs_act_in_the_same_tick():
    assert Clock().tick(severity=Severity.DEGRADED) == Mode.COMFORT_STOP
    assert Clock().tick(severity=Severity.BLIND) == Mode.UNABLE
    assert Clock().tick(severity=Severity.SUSPECT) == Mode.SPEED_CAP


def test_a_stronger_demand_counts_for_the_weaker_ones():
    clock = Clock()
    clock.tick(Mode.FIRM_STOP)
    clock.tick(Mode.COMFORT_STOP)
    assert clock.tick(Mode.FIRM_STOP) == Mode.COMFORT_STOP
    assert clock.tick(Mode.FIRM_STOP) == Mode.COMFORT_STOP
    assert clock.tick(Mode.FIRM_STOP) == Mode.FIRM_STOP


def test_a_demand_is_held_for_the_off_time_and_the_mode_for_the_dwell_after_it():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    assert clock.until(Mode.NOMINAL) == pytest.approx(X.off_time + A.release_dwell, abs=1.5 * CONFIG.timing.period)


def test_a_gap_shorter_than_the_off_time_is_no_gap():
    clock = Clock()
    for _ in range(5):
        clock.for_(0.3, demand=Mode.COMFORT_STOP)
        assert clock.for_(X.off_time - 0.1) == Mode.COMFORT_STOP
    assert clock.arbiter.held == Mode.COMFORT_STOP


def test_what_sustains_a_stop_starts_none():
    assert Clock().for_(1.0, sustain=Mode.COMFORT_STOP) == Mode.NOMINAL
    clock = Clock()
    clock.for_(0.3, demand=Mode.COMFORT_STOP)
    assert clock.for_(5.0, sustain=Mode.COMFORT_STOP) == Mode.COMFORT_STOP
    assert clock.for_(5.0) == Mode.NOMINAL


def test_after_an_emergency_ego_stops_and_waits_for_its_release():
    clock = Clock()
    clock.tick(Mode.EMERGENCY_STOP)
    assert clock.for_(5.0) == Mode.COMFORT_STOP
    assert clock.for_(A.standstill_time, speed=0.0) == Mode.COMFORT_STOP
    assert clock.for_(0.1, speed=0.0) == Mode.STANDSTILL
    assert clock.tick(speed=0.0, release=True) == Mode.STANDSTILL  # before the dwell
    assert clock.for_(10.0, speed=0.0) == Mode.STANDSTILL
    assert clock.tick(speed=0.0, release=True) == Mode.NOMINAL
    assert not clock.arbiter.latched


def test_after_a_comfort_stop_calm_is_enough():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    assert clock.for_(0.5, demand=Mode.COMFORT_STOP, speed=0.0) == Mode.STANDSTILL
    waited = clock.until(Mode.NOMINAL, speed=0.0)
    assert waited == pytest.approx(X.off_time + A.release_dwell, abs=1.5 * CONFIG.timing.period)


def test_from_standstill_a_demand_that_only_caps_lets_ego_go_on_capped():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    clock.for_(0.6, demand=Mode.COMFORT_STOP, speed=0.0)
    assert clock.for_(X.off_time + A.release_dwell + 0.2, demand=Mode.SPEED_CAP, speed=0.0) == Mode.SPEED_CAP


def test_standstill_takes_the_standstill_time_to_the_tick():
    clock = Clock(config({"arbitration.standstill_time": 0.25}))
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    waited = clock.until(Mode.STANDSTILL, demand=Mode.COMFORT_STOP, speed=0.0)
    assert waited == pytest.approx(0.25 + CONFIG.timing.period)


def test_a_hazard_that_returns_starts_the_dwell_anew():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    clock.for_(X.off_time + A.release_dwell - 0.2)
    clock.for_(0.2, demand=Mode.COMFORT_STOP)
    assert clock.for_(A.release_dwell) == Mode.COMFORT_STOP


def test_ego_that_rolls_although_it_is_held_is_stopped_firmly():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    clock.for_(0.6, demand=Mode.COMFORT_STOP, speed=0.0)
    assert clock.tick(speed=A.standstill_speed) == Mode.STANDSTILL
    assert clock.tick(speed=A.standstill_speed * 1.1) == Mode.FIRM_STOP


def test_standstill_needs_a_known_speed():
    clock = Clock()
    clock.for_(0.5, demand=Mode.COMFORT_STOP)
    assert clock.for_(3.0, demand=Mode.COMFORT_STOP, speed=float("nan")) == Mode.COMFORT_STOP
    assert clock.for_(3.0, demand=Mode.COMFORT_STOP, speed=-A.standstill_speed) == Mode.STANDSTILL


def test_a_driver_takes_over_and_hands_back_to_a_self_test():
    clock = Clock()
    clock.tick(Mode.EMERGENCY_STOP)
    assert clock.tick(Mode.EMERGENCY_STOP, driver=True) == Mode.INIT
    assert clock.tick(severity=Severity.WAITING) == Mode.INIT
    assert clock.tick(Mode.EMERGENCY_STOP) == Mode.EMERGENCY_STOP


def test_without_on_and_off_times_every_demand_acts_and_ends_at_once():
    clock = Clock(config({"expected.on_time": 0.0, "expected.off_time": 0.0, "arbitration.release_dwell": 0.0}))
    assert clock.tick(Mode.COMFORT_STOP) == Mode.COMFORT_STOP
    assert clock.tick() == Mode.NOMINAL


@pytest.mark.parametrize("jump", [-100.0, 100.0])
def test_after_a_clock_jump_every_timer_runs_from_now(jump):
    clock = Clock()
    clock.for_(0.3, demand=Mode.COMFORT_STOP)
    clock.t += nanoseconds(jump)
    clock.arbiter = rebased(clock.arbiter, clock.t)
    assert clock.tick() == Mode.COMFORT_STOP
    assert clock.until(Mode.NOMINAL) == pytest.approx(X.off_time + A.release_dwell, abs=3 * CONFIG.timing.period)
    assert clock.until(Mode.FIRM_STOP, demand=Mode.FIRM_STOP) < 0.3


def test_a_new_clock_forgets_every_time_and_keeps_what_was_demanded():
    old = Arbiter(Mode.COMFORT_STOP, True, ((Mode.SPEED_CAP, 5), (Mode.COMFORT_STOP, 7)), Mode.COMFORT_STOP,
                  ((Mode.SPEED_CAP, 9), (Mode.FIRM_STOP, 3)), calm=4, standing=2)
    new = rebased(old, 1000)
    assert new == Arbiter(Mode.COMFORT_STOP, True, ((Mode.SPEED_CAP, 1000), (Mode.COMFORT_STOP, 1000)),
                          Mode.COMFORT_STOP, ((Mode.SPEED_CAP, 1000), (Mode.FIRM_STOP, 1000)), None, None)


# --- which stop ------------------------------------------------------------------------------------------------------


def picked(inside, impact, floor):
    """The same one by one: the mildest inside, else the least impact, the last of equals."""
    fits = [k for k, ok in enumerate(inside) if ok and k >= floor]
    known = [np.inf if np.isnan(value) else value for value in impact]
    return fits[0] if fits else max(k for k, value in enumerate(known) if value == min(known))


def test_of_several_stops_the_mildest_inside_is_taken_and_without_any_the_least_impact():
    every = list(product(product((False, True), repeat=4), product((1.0, 2.0, np.nan), repeat=4), range(5)))
    inside, impact, floor = (np.array(column).T for column in zip(*every, strict=True))
    assert arbitration.select(inside, impact, floor).tolist() == [picked(*row) for row in every]
