"""Is the object gone, or does the radar not look there any more? Silence is no evidence, and it is answered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import CONFIG, FRONT, Drive, ego, lead, together

from safety_supervisor.core.config import Tracking, from_mapping
from safety_supervisor.core.health import severity_of
from safety_supervisor.core.tracking import (
    EgoHistory,
    Monitors,
    TrackerState,
    UltrasonicState,
    ahead_of,
    silence,
    track_radar,
    unheard,
    vanished,
    watched,
)
from safety_supervisor.core.tracking import findings as doubts
from safety_supervisor.core.tracking.silence import PATIENCE, SCANS, WINDOW, Direction, Silent, followed, silent
from safety_supervisor.core.world import Code, Mode, Odometry, RadarScan, Severity, Threat, nanoseconds

P = Tracking()
TICK = nanoseconds(0.05)
STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))
CAR = (30.0, 0.0, 0.0)
BEHIND = (70.0, 0.02, 0.0)
"""A return from behind where the car was: the radar looks past it."""
ASIDE = (40.0, 0.5, 0.0)
FIRM, COMFORT = Mode.FIRM_STOP, Mode.COMFORT_STOP


def config(*sensors):
    return from_mapping({"sensors": {name: {"topic": name, "x": 0.0} for name in sensors or ("front",)}})


def scan(t, rows, sensor="front", **keywords):
    z = np.array(rows, float).reshape(-1, 3)
    return RadarScan(sensor, t, z[:, 0], z[:, 1], z[:, 2], **keywords)


class Watch:
    """Tracker and monitors over one scan a tick of each radar; `ahead` are the tracks in ego's way."""

    def __init__(self, *sensors, ahead=()):
        self.config, self.ahead, self.t = config(*sensors), ahead, 0
        self.state, self.monitors, self.quiet = TrackerState.empty(), Monitors(), UltrasonicState.empty()

    def see(self, rows, ticks=1, other=None, **keywords):
        for _ in range(ticks):
            self.t += TICK
            scans = (scan(self.t, rows, **keywords),)
            scans += () if other is None else (scan(self.t, other, "other"),)
            self.state = track_radar(self.state, scans, STILL, self.t, self.config)
            self.monitors = watched(self.monitors, self.state, self.quiet, STILL, self.t, self.config, self.ahead)
        return self

    @property
    def car(self):
        """Existence of what stands where the car stood, 0 when there is nothing."""
        near = np.abs(self.state.tracks.state[:, 0] - CAR[0]) < 5.0
        return float(self.state.tracks.existence[near].max(initial=0.0))

    @property
    def found(self):
        return {f.code for f in doubts(self.monitors, self.quiet, self.t, self.config)}


KNOWN = int(P.coast_time / 0.05) + 2


# --- what a miss says -----------------------------------------------------------------------------------------------


def test_a_direction_is_silent_when_nothing_is_heard_within_the_window_and_half_a_body():
    bearings, distance = np.array([0.0, 0.0, 0.5]), np.array([100.0, 10.0, 100.0])
    inside = WINDOW + 0.9 / 100
    assert silent(bearings, distance, np.array([])).tolist() == [True, True, True]
    assert silent(bearings, distance, np.array([inside])).tolist() == [False, False, True]
    assert silent(bearings, distance, np.array([WINDOW + 2 / 100])).tolist() == [True, False, True]
    assert silent(bearings, distance, np.array([0.5 - inside])).tolist() == [True, True, False]


def test_at_the_edge_of_view_no_direction_is_told_silent():
    distance, nothing = np.array([4.0, 4.0, 60.0]), np.array([])
    half = WINDOW + 1 / 4
    bearings = np.array([-(1.0 - half) - 0.01, 1.0 - half - 0.01, 0.8])
    assert silent(bearings, distance, nothing, 1.0).tolist() == [False, True, True]
    assert silent(bearings, distance, nothing).all()  # the control: who sees all around


def test_no_scan_and_a_silent_one_say_the_same():
    silent_scans = Watch().see([CAR], 20).see([ASIDE], KNOWN)
    elsewhere = Watch().see([CAR], 20)
    no_scans = track_radar(elsewhere.state, (), STILL, elsewhere.t + KNOWN * TICK, elsewhere.config)
    assert silent_scans.car == pytest.approx(float(no_scans.tracks.existence[0]), abs=1e-6)
    assert silent_scans.car > CONFIG.authority.emergency


def test_silence_ends_after_the_time_of_what_is_unseen():
    ticks = int(P.unseen_time / 0.05)
    assert Watch().see([CAR], 20).see([], ticks - 1).car > 0.99
    assert Watch().see([CAR], 20).see([], ticks + 2).car == 0.0


def test_control_where_the_radar_looks_past_it_an_object_is_gone():
    assert Watch().see([CAR], 20).see([BEHIND], 4).car < CONFIG.authority.emergency
    assert Watch().see([CAR], 20).see([BEHIND], KNOWN).car == 0.0


def test_control_what_hides_an_object_returns_itself():
    assert Watch().see([CAR], 20).see([(12.0, 0.03, 0.0)], KNOWN).car == 0.0


def test_control_what_is_hardly_known_goes_as_before():
    assert Watch().see([CAR], 6).see([], KNOWN).car == 0.0


def test_control_a_list_of_objects_is_silent_wherever_it_has_none():
    assert Watch().see([CAR], 20, from_objects=True).see([], KNOWN, from_objects=True).car == 0.0


def test_control_a_suspected_reflection_goes_as_before():
    object_and_ghost = [(20.0, 0.0, -4.0), (40.0, 0.0, -8.0)]
    watch = Watch()
    for k in range(20):
        watch.see([(r + rate * 0.05 * k, a, rate) for r, a, rate in object_and_ghost])
    suspect = watch.state.tracks.suspect
    assert suspect.any()
    lost = watch.see([], KNOWN).state.tracks
    assert len(lost) == int((~suspect).sum()) > 0
    assert not lost.suspect.any()


# --- a direction that stays silent ----------------------------------------------------------------------------------


def silent_scan(track, azimuth, heard=()):
    return Silent(np.array([track]), np.array([azimuth]), np.array(heard, float), np.array([50.0]))


def test_directions_count_scans_and_keep_the_strongest_demand():
    known = ()
    for k in range(3):
        known = followed(known, silent_scan(7, 0.1 + 0.01 * k), ((7, FIRM if k == 1 else COMFORT, SCANS + k),))
    assert known == (Direction(7, pytest.approx(0.12), 3, FIRM, SCANS, 50.0),)
    assert not known[0].blocked
    assert Direction(7, 0.1, SCANS, FIRM, SCANS).blocked
    assert not Direction(7, 0.1, SCANS, FIRM).blocked
    assert Direction(7, 0.1, PATIENCE, FIRM).blocked
    assert not Direction(7, 0.1, PATIENCE, Mode.NOMINAL).blocked


def test_a_direction_outlives_its_track_until_something_comes_back_from_there():
    known = followed((), silent_scan(7, 0.1), ((7, FIRM, SCANS),))
    known = followed(known, Silent(heard=np.array([0.3])), ())
    assert known == (Direction(7, 0.1, 2, FIRM, SCANS, 50.0),)
    assert followed(known, Silent(heard=np.array([0.1 + WINDOW + 0.9 / 50.0])), ()) == ()
    assert followed(known, Silent(heard=np.array([0.1 + WINDOW + 1.1 / 50.0])), ()) != ()


def test_a_direction_is_not_silent_when_its_track_is_detected_elsewhere():
    """Who overtakes leaves an empty road behind it."""
    known = followed((), silent_scan(7, 0.1), ((7, FIRM, SCANS),))
    assert followed(known, Silent(heard=np.array([0.4]), hit=np.array([7])), ()) == ()
    assert followed(known, Silent(heard=np.array([0.4]), hit=np.array([8])), ()) != ()  # the control


def test_directions_stand_in_the_order_of_their_tracks():
    known = followed((Direction(9, -0.5, 4, COMFORT),), silent_scan(3, 0.4), ())
    assert [d.id for d in known] == [3, 9]


def test_what_vanishes_from_egos_way_blocks_the_radar_and_asks_for_a_stop():
    watch = Watch(ahead=((1, FIRM, SCANS),)).see([CAR, ASIDE], 20).see([ASIDE], 3)
    assert watch.found == set()
    assert vanished(watch.monitors) == Mode.NOMINAL
    watch.see([ASIDE], SCANS)
    assert watch.found == {Code.RADAR_BLOCKED}
    assert severity_of(Code.RADAR_BLOCKED) == Severity.DEGRADED
    assert vanished(watch.monitors) == FIRM
    watch.see([ASIDE], 60)
    assert watch.car == 0.0  # forgotten, and still nobody knows
    assert (watch.found, vanished(watch.monitors)) == ({Code.RADAR_BLOCKED}, FIRM)
    watch.see([ASIDE, BEHIND], 1)
    assert (watch.found, vanished(watch.monitors)) == (set(), Mode.NOMINAL)


def test_the_finding_names_track_and_direction():
    watch = Watch(ahead=((1, FIRM, SCANS),)).see([CAR], 20).see([], SCANS + 3)
    (finding,) = doubts(watch.monitors, watch.quiet, watch.t, watch.config)
    assert finding.source == "front"
    assert "track 1 at 0 deg vanished from ego's way" in finding.text


def test_control_what_was_not_in_the_way_blocks_nothing():
    watch = Watch().see([CAR], 20).see([], 60)
    assert (watch.found, vanished(watch.monitors)) == (set(), Mode.NOMINAL)


def test_control_what_another_radar_sees_is_no_witness():
    watch = Watch("front", "other", ahead=((1, FIRM, SCANS),)).see([CAR], 20, other=[CAR]).see([], 40, other=[CAR])
    assert (watch.found, vanished(watch.monitors)) == (set(), Mode.NOMINAL)
    assert watch.see([], SCANS + 3, other=[]).found == {Code.RADAR_BLOCKED}


# --- who is in the way ----------------------------------------------------------------------------------------------


def threat(margin, demand=Mode.NOMINAL, track=1):
    return Threat(track, "radar", 30.0, 0.0, 5.0, margin, 0.0, 6.0, demand, Code.ENVELOPE)


def test_a_threat_asks_by_what_it_demands_and_by_how_long_it_stays_safe_unseen():
    here, far = ego(20.0), lead(200.0)
    blind = 20.0 * P.unseen_time
    assert ahead_of(here, far, (threat(blind),), CONFIG) == ((1, FIRM, SCANS),)
    assert ahead_of(here, far, (threat(blind + 0.1),), CONFIG) == ()
    assert ahead_of(here, far, (threat(blind + 0.1, Mode.SPEED_CAP),), CONFIG) == ((1, COMFORT, SCANS),)
    assert ahead_of(here, far, (threat(-1.0, Mode.EMERGENCY_STOP, track=None),), CONFIG) == ()
    assert ahead_of(here, far, (threat(math.nan, Mode.EMERGENCY_STOP),), CONFIG) == ((1, COMFORT, SCANS),)


def test_what_never_moved_may_have_left_the_view_from_below_and_asks_later():
    bridge = lead(75.0, speed=0.0, moved=False)
    assert ahead_of(ego(20.0), bridge, (threat(30.0),), CONFIG) == ((1, FIRM, PATIENCE),)
    assert ahead_of(ego(20.0), bridge, (threat(90.0, Mode.SPEED_CAP),), CONFIG) == ((1, COMFORT, PATIENCE),)


def asks(track, speed=20.0, **keywords):
    return ahead_of(ego(speed, **keywords), track, (), CONFIG) == ((1, FIRM, SCANS),)


def test_who_moves_near_beside_the_way_is_in_it_too():
    assert asks(lead(35.0, speed=18.0, y=3.5))
    assert not asks(lead(-1.0, speed=18.0, y=3.5))
    assert not asks(lead(45.0, speed=18.0, y=3.5))  # not within two seconds
    assert not asks(lead(35.0, speed=18.0, y=silence.ASIDE + 0.1))
    assert not asks(lead(35.0, speed=-18.0, y=3.5))  # oncoming
    assert asks(lead(85.0, speed=0.0, y=3.5))  # it may not drive on, and a firm stop must end before it
    assert not asks(lead(35.0, speed=0.0, y=3.5, moved=False))


def test_who_walks_towards_the_way_is_in_it_too():
    def walker(vy, **keywords):
        return asks(lead(30.0, speed=0.0, y=4.0, vy=vy, moved=False, **keywords), speed=11.0)

    assert walker(-1.2)
    far = CONFIG.authority.static_range
    assert asks(lead(far - 1.0, speed=0.0, y=4.0, vy=-1.2, moved=False), speed=20.0)
    assert not asks(lead(far + 1.0, speed=0.0, y=4.0, vy=-1.2, moved=False), speed=20.0)  # a sign leaves the view there
    assert not walker(1.2)
    assert not walker(-0.4)
    assert not walker(-1.2, speed_sigma=1.0)


def test_ahead_is_where_ego_drives_to():
    behind = lead(-FRONT - CONFIG.vehicle.rear - 8.0, speed=-4.0, y=2.0)
    assert asks(behind, speed=-5.0)
    assert not asks(behind, speed=5.0)


def test_every_track_in_the_way_is_named_once_in_order():
    two = together(lead(30.0, speed=18.0), lead(20.0, speed=18.0, y=3.0))
    assert ahead_of(ego(20.0), two, (threat(1.0, track=2), threat(90.0, Mode.SPEED_CAP)), CONFIG) == (
        (1, FIRM, SCANS), (2, FIRM, SCANS))  # fmt: skip


# --- the tick -------------------------------------------------------------------------------------------------------


def test_a_lead_that_vanishes_with_its_direction_stops_ego_until_the_radar_sees_again():
    drive = Drive(objects=((60.0, 0.0, 20.0), (80.0, 45.0, 20.0)))
    drive.run(2.0)
    assert drive.decisions[-1].mode == Mode.NOMINAL
    gone, drive.objects = drive.objects[0], drive.objects[1:]
    drive.run(0.8)
    assert drive.decisions[-1].mode in (Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
    assert Code.RADAR_BLOCKED in {f.code for f in drive.decisions[-1].health.findings}
    drive.run(3.0)
    assert gone not in drive.objects
    assert drive.decisions[-1].mode in (Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
    assert Code.RADAR_BLOCKED in {r.code for r in drive.decisions[-1].reasons}


def test_control_a_lead_that_leaves_while_the_radar_looks_past_it_stops_nobody():
    drive = Drive(objects=((60.0, 0.0, 20.0), (150.0, 1.0, 20.0)))
    drive.run(2.0)
    drive.objects = drive.objects[1:]
    drive.run(3.0)
    assert set(drive.modes) == {Mode.NOMINAL}


def test_who_moves_in_the_way_is_not_forgotten_while_the_radar_is_silent():
    seen, ahead = together(lead(30.0), lead(60.0, age=0.5)), ((1, FIRM, SCANS), (2, COMFORT, SCANS))
    assert unheard(ahead, seen, seen.t) == Mode.NOMINAL
    assert unheard(((2, FIRM, SCANS),), seen, seen.t) == FIRM
    assert unheard(((2, FIRM, PATIENCE),), seen, seen.t) == Mode.NOMINAL
    at = nanoseconds(silence.UNHEARD)
    assert unheard(ahead, seen, seen.t + at) == Mode.NOMINAL
    assert unheard(ahead, seen, seen.t + at + 1) == FIRM
    assert unheard((), seen, seen.t + at + 1) == Mode.NOMINAL


@pytest.mark.parametrize(("walks", "mode"), [(-1.4, Mode.FIRM_STOP), (1.4, Mode.COMFORT_STOP)])
def test_a_dead_radar_stops_firmly_where_somebody_walked_into_the_way(walks, mode):
    drive = Drive(speed=11.0, objects=((FRONT + 45.0, 6.0 - walks, 0.0),))

    def walk(duration):
        for _ in range(round(duration / CONFIG.timing.period)):
            drive.objects = tuple((x, y + walks * CONFIG.timing.period, vx) for x, y, vx in drive.objects)
            drive.tick()

    walk(1.2)
    assert drive.decisions[-1].mode <= Mode.SPEED_CAP
    drive.radar_on = False
    walk(0.7)
    assert drive.decisions[-1].mode == mode
    assert drive.decisions[-1].reasons[0].code == Code.RADAR_STALE
