"""Every parameter of the supervisor: default, unit, allowed range and the reason for it, declared once.

The same declaration validates vehicle files, describes the ROS parameters, fills the table in the README and
bounds the assumptions of the proofs: what a proof assumes is what this loader enforces. SI units; decelerations
and brakes are positive numbers. A `Config` is frozen: another value means another `Config` and another proof.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar, cast, get_type_hints

GRAVITY = 9.80665
"""Standard gravity [m/s^2]."""

SENSOR_KINDS = ("radar", "radar_tracks", "ultrasonic")
FIELD_ROLES = ("x", "y", "range", "azimuth", "doppler", "vx", "vy")
"""What a field of a radar's point cloud can be for; `Sensor.fields` names those that are called otherwise."""
RESERVED = ("odometry", "plan", "driver", "clock", "imu", "mrm", "release", "supervisor",
            "control", "heartbeat", "objects", "room")
"""Sources of findings beside the sensors; a sensor of such a name would stand in for that input."""

T = TypeVar("T")


class ConfigError(ValueError):
    """A parameter set that is refused; the text names source, key, value and what is allowed."""


def param(default: T, unit: str, low: float, high: float, why: str) -> T:
    """Declare one numeric parameter with its unit, its closed range and its source or reason."""
    declared: Any = field(default=default, metadata={"unit": unit, "low": low, "high": high, "why": why})
    return cast(T, declared)


def choice(default: T, allowed: tuple[Any, ...], why: str) -> T:
    """Declare one parameter that takes one of few values; an empty tuple allows any value of the type."""
    declared: Any = field(default=default, metadata={"unit": "", "allowed": allowed, "why": why})
    return cast(T, declared)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Body and brakes. `base_link` is the centre of the rear axle on the ground (REP-105)."""

    name: str = choice("vehicle", (), "shown in reports and certificates")
    front: float = param(3.7, "m", 0.05, 20.0, "base_link to front bumper")
    rear: float = param(1.0, "m", 0.0, 20.0, "base_link to rear bumper")
    width: float = param(1.86, "m", 0.1, 4.0, "over mirrors folded; the corridor adds its own margin")
    curvature_max: float = param(0.2, "1/m", 0.01, 10.0, "tightest turn, 1 / turning radius of base_link")
    turns_on_spot: bool = choice(False, (), "a plan may turn without driving, as a base with differential drive does")
    mass: float = param(1650.0, "kg", 1.0, 60000.0, "kerb mass")
    brake_force_max: float = param(18000.0, "N", 1.0, 600000.0, "service brake on dry road, fading included")


@dataclass(frozen=True, slots=True)
class Odd:
    """Operational design domain: what the vehicle file promises about the world."""

    speed_max: float = param(40.0, "m/s", 0.1, 60.0, "ego speed; the proofs cover speeds up to it")
    friction_min: float = param(0.8, "", 0.05, 1.2, "lowest tyre-road friction in which the vehicle is operated")
    grade_max: float = param(0.04, "rad", 0.0, 0.35, "steepest downhill slope")
    load_max: float = param(450.0, "kg", 0.0, 40000.0, "payload above kerb mass")


@dataclass(frozen=True, slots=True)
class Timing:
    """Delays between a fact in the world and a wheel that brakes for it."""

    period: float = param(0.05, "s", 0.005, 0.2, "tick period of the supervisor")
    overrun: float = param(0.01, "s", 0.0, 0.2, "latest admissible delay of a tick beyond its period")
    gate_timeout: float = param(0.1, "s", 0.01, 1.0, "silence after which the command gate executes the fallback")
    actuation_delay: float = param(0.15, "s", 0.0, 1.0, "from command to the first change of deceleration")
    steering_correction: float = param(0.5, "s", 0.0, 2.0, "time the policy needs to leave its present curvature")

    @property
    def commit(self) -> float:
        """Longest time [s] for which a passed plan can be followed before a new decision binds."""
        return max(self.period + self.overrun, self.gate_timeout)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the proved worst-case envelope assumes about ego's emergency fallback and about objects."""

    assumed_brake: float = param(7.0, "m/s^2", 0.5, 12.0, "deceleration the envelope counts on")
    assumed_jerk: float = param(15.0, "m/s^3", 0.5, 100.0, "rate at which that deceleration builds up")
    object_brake_max: float = param(8.0, "m/s^2", 0.5, 12.0, "hardest braking of an object ahead")
    acceleration_max: float = param(3.0, "m/s^2", 0.0, 6.0, "hardest acceleration of ego; bounds what a plan may ask")
    acceleration_margin: float = param(0.3, "m/s^2", 0.0, 3.0, "measured on real driving: plan acceleration + 0.3 held")
    sigma_k: float = param(3.0, "", 0.0, 6.0, "one-sided interval, in standard deviations, of gap and speed")
    gap_sigma_floor: float = param(0.25, "m", 0.0, 5.0, "automotive radar range drift 0.44 m p95 in 2 s, measured")
    speed_error: float = param(0.05, "m/s", 0.0, 2.0, "ego speed reads low by up to this much at any speed")
    speed_error_ratio: float = param(0.01, "", 0.0, 0.2, "and by this share of it; a real car read 0.9 % low")
    geometry_bound: float = param(0.05, "m", 0.0, 1.0, "error bound of path geometry, taken off every gap")
    object_acceleration_max: float = param(3.0, "m/s^2", 0.0, 10.0, "hardest acceleration of an oncoming object")
    object_response: float = param(1.0, "s", 0.0, 5.0, "until others react; RSS takes 1 s for human drivers")
    oncoming_brake: float = param(4.0, "m/s^2", 0.5, 12.0, "least braking of a reacting oncoming driver, as in ad-rss")
    lateral_acceleration_max: float = param(0.2, "m/s^2", 0.0, 5.0, "either one to the other's side, as in ad-rss")
    lateral_brake: float = param(0.8, "m/s^2", 0.1, 10.0, "least braking of that lateral speed, as in ad-rss")
    lateral_fluctuation: float = param(0.1, "m", 0.0, 2.0, "weaving within the lane, as in ad-rss")
    crossing_acceleration_max: float = param(3.0, "m/s^2", 0.1, 10.0, "hardest start of what crosses: a car, briskly")
    crossing_speed_max: float = param(16.7, "m/s", 0.1, 60.0, "60 km/h, fastest crossing car of Euro NCAP AEB C2C")
    crossing_horizon: float = param(4.0, "s", 0.1, 20.0, "nobody's worst case is followed longer, as expected.horizon")
    near_acceleration_max: float = param(1.5, "m/s^2", 0.1, 10.0, "hardest start of a person who is near")
    near_speed_max: float = param(2.3, "m/s", 0.1, 60.0, "a running adult of Euro NCAP AEB VRU, 8 km/h")
    near_horizon: float = param(3.0, "s", 0.1, 20.0, "a stop from near_field.speed_max takes 1.1 s")


@dataclass(frozen=True, slots=True)
class Fallback:
    """The minimal-risk manoeuvres (MRM) as they are commanded."""

    comfort_deceleration: float = param(2.0, "m/s^2", 0.2, 4.0, "UN R157 5.5.1: MRM demand at most 4.0 m/s^2")
    comfort_jerk: float = param(2.0, "m/s^3", 0.2, 50.0, "comfortable onset")
    firm_deceleration: float = param(4.0, "m/s^2", 0.5, 8.0, "strongest regular MRM of UN R157 5.5.1")
    firm_jerk: float = param(8.0, "m/s^3", 0.5, 100.0, "brisk but controllable onset")
    emergency_deceleration: float = param(7.0, "m/s^2", 0.5, 12.0, "what the brakes really deliver, all conditions")
    emergency_jerk: float = param(15.0, "m/s^3", 0.5, 100.0, "brake pressure build-up, measured on the vehicle")
    shift_max: float = param(0.0, "m", 0.0, 3.5, "largest shift into room that is given as free; 0: radar never steers")
    shift_acceleration: float = param(4.0, "m/s^2", 0.5, 8.0, "lateral, of a shift; shares the grip with the brake")
    shift_jerk: float = param(30.0, "m/s^3", 1.0, 200.0, "lateral, of a shift; as plan_check.lateral_jerk_max")


@dataclass(frozen=True, slots=True)
class Corridor:
    """Which objects count as in the way. These widths, not the brakes, decide whether the layer stays quiet."""

    margin: float = param(0.3, "m", 0.0, 2.0, "lateral distance kept beside ego's body")
    object_half_width: float = param(0.5, "m", 0.0, 2.0, "presumed half extent of a radar point; declared assumption")
    curvature_sigma: float = param(2.2e-4, "1/m", 0.0, 0.05, "sd of present against driven curvature, measured")
    extrapolation_time: float = param(2.0, "s", 0.1, 5.0, "present motion is extrapolated no further")
    lateral_prediction: float = param(1.0, "s", 0.0, 3.0, "mean lateral motion counts this far; 3 s was not quiet")
    flank_prediction: float = param(0.5, "s", 0.0, 3.0, "and so far of traffic near by: reflections slide over flanks")
    lateral_sigma_k: float = param(1.0, "", 0.0, 3.0, "sd of lateral position kept free at least; 3 saw the next lane")
    lateral_speed_sigma_k: float = param(1.5, "", 0.0, 4.0, "sd taken off a lateral speed, young tracks seem to swerve")
    oncoming_sigma_k: float = param(2.5, "", 0.0, 4.0, "sd by which an oncoming object must surely be in the way")
    lateral_hits: int = param(20, "", 1, 200, "detections before lateral motion counts: at first reflections slide")
    onset_sigma_k: float = param(4.5, "", 2.0, 20.0, "sd by which a body leaves its lane; 3.7 in 442 kept lanes")
    lane_keeping_sigma: float = param(0.1, "m/s", 0.01, 1.0, "speed across the lane of who keeps it, within 2 s")
    continuation: float = param(20.0, "m", 0.0, 100.0, "the planned path is trusted to bend on as it ends")
    lateral_speed_sigma_max: float = param(0.8, "m/s", 0.1, 5.0, "a lateral speed known worse than this does not count")


@dataclass(frozen=True, slots=True)
class Expected:
    """Thresholds on the deceleration that the expected motion of an object requires of ego."""

    clearance: float = param(2.0, "m", 0.0, 10.0, "gap to keep to an object ahead at the end of the approach")
    cap_threshold: float = param(1.2, "m/s^2", 0.1, 8.0, "speed is capped above this required deceleration")
    comfort_threshold: float = param(1.5, "m/s^2", 0.1, 8.0, "comfort stop above it, while it still suffices")
    firm_threshold: float = param(2.2, "m/s^2", 0.1, 10.0, "firm stop above it: a comfort stop no longer suffices")
    horizon: float = param(4.0, "s", 0.5, 10.0, "expected motion is followed this far along the plan")
    on_time: float = param(0.1, "s", 0.0, 2.0, "a threshold must be exceeded this long")
    off_time: float = param(0.5, "s", 0.0, 5.0, "and undercut this long before it is forgotten")
    ttc: float = param(1.0, "s", 0.1, 5.0, "least time to collision with constant accelerations")


@dataclass(frozen=True, slots=True)
class NearField:
    """Ultrasonic near field."""

    stop_distance: float = param(0.3, "m", 0.05, 2.0, "gap kept to a near object")
    approach_tolerance: float = param(0.25, "m", 0.0, 1.0, "allowed closer when the plan itself stops there")
    lateral_margin: float = param(0.1, "m", 0.0, 1.0, "kept beside the body from echoes, in a turn from all")
    approach_noise: float = param(0.6, "m/s", 0.0, 3.0, "an echo that comes nearer by itself slower than this stands")
    speed_max: float = param(4.0, "m/s", 0.1, 10.0, "above it ultrasonics cannot stop the vehicle and radar decides")


@dataclass(frozen=True, slots=True)
class Authority:
    """Existence probability above which a track may demand a mode."""

    speed_cap: float = param(0.9, "", 0.0, 1.0, "a cap costs little, so little evidence is enough")
    stop: float = param(0.99, "", 0.0, 1.0, "comfort and firm stop")
    emergency: float = param(0.9999, "", 0.0, 1.0, "about one false confirmed track an hour in clutter, measured")
    near_field: float = param(0.9, "", 0.0, 1.0, "any stop, closer than near_range: time is short and speed is low")
    near_range: float = param(8.0, "m", 0.0, 50.0, "where the near-field authority holds")
    hits: int = param(2, "", 1, 50, "detections before a track may do more than cap; existence asks for as many")
    course_hits: int = param(10, "", 1, 50, "before, its place is noise: it must surely be in the corridor")
    near_hits: int = param(4, "", 1, 50, "the same, closer than near_range")
    course_sigma_k: float = param(2.0, "", 0.0, 6.0, "surely: by this many sd of lateral position")
    course_time: float = param(3.0, "s", 0.0, 10.0, "met later than this, traffic must surely be in the corridor too")
    static_range: float = param(65.0, "m", 10.0, 300.0, "never-moved returns beyond it may only cap the speed")
    lead: float = param(0.9, "", 0.0, 1.0, "a confirmed track, as counted in the summary")


@dataclass(frozen=True, slots=True)
class Tracking:
    """Radar tracker."""

    acceleration_psd: float = param(2.0, "m^2/s^3", 0.01, 50.0, "along the motion; 0.5 lost braking objects")
    lateral_psd: float = param(0.5, "m^2/s^3", 0.01, 50.0, "across the motion; calm lateral speeds")
    standing_psd: float = param(0.5, "m^2/s^3", 0.001, 50.0, "of what stands or walks, in any direction")
    odometry_drift: float = param(0.01, "m^2/s", 0.0, 1.0, "odometry against Doppler; 1 % of speed, measured")
    speed_lag: float = param(0.0, "s", 0.0, 0.5, "range rates tell a change of speed later than ranges by this")
    gate_probability: float = param(0.999, "", 0.5, 0.999999, "chi-square gate on range, azimuth, range rate")
    detection_probability: float = param(0.9, "", 0.05, 0.999, "in the field of view, per scan")
    clutter_rate: float = param(10.0, "1/scan", 0.01, 1000.0, "false detections per scan over the whole field of view")
    static_clutter_share: float = param(0.5, "", 0.0, 1.0, "share of clutter with the Doppler of the static world")
    birth_existence: float = param(0.05, "", 0.001, 0.5, "of one detection where clutter is thin")
    delete_existence: float = param(1e-4, "", 1e-6, 0.5, "then dropped; one static return starts above it")
    existence_max: float = param(0.9999999, "", 0.9, 0.99999999, "cap: three misses keep emergency authority")
    persistence_half_life: float = param(5.0, "s", 0.1, 60.0, "existence of an unseen track halves in odds by time")
    coast_time: float = param(0.6, "s", 0.05, 5.0, "longest time without detection in view")
    unseen_time: float = param(2.0, "s", 0.1, 10.0, "then forgotten, in view of a sensor or not")
    identity_time: float = param(10.0, "s", 0.0, 60.0, "one that comes back within it gets its number back")
    cross_speed_sigma: float = param(5.0, "m/s", 0.1, 30.0, "speed across the line of sight at birth")
    extent_sigma: float = param(0.4, "m", 0.0, 3.0, "wander of the reflection across a body; 0 for point targets")
    cluster_distance: float = param(1.5, "m", 0.0, 10.0, "returns of one body lie closer")
    cluster_speed: float = param(0.75, "m/s", 0.0, 5.0, "and their range rates differ less")
    moving_speed: float = param(1.5, "m/s", 0.1, 10.0, "a track that was significantly faster has moved")
    detections_max: int = param(600, "", 1, 5000, "bounded memory and time; the farthest go first")
    tracks_max: int = param(200, "", 1, 2000, "bounded memory and time; the least certain go first")


@dataclass(frozen=True, slots=True)
class Ultrasonics:
    """Per-transducer filter."""

    sigma: float = param(0.03, "m", 0.001, 0.5, "range noise")
    acceleration_psd: float = param(1.0, "m^2/s^3", 0.01, 50.0, "relative motion of near objects")
    spike_gate: float = param(4.0, "", 1.0, 10.0, "innovations beyond it, in sd, are spikes until repeated")
    confirm: int = param(2, "pings", 1, 10, "consistent echoes that confirm an object or a jump")
    lose: int = param(3, "pings", 1, 20, "consecutive silent pings that end an object")


@dataclass(frozen=True, slots=True)
class Health:
    """When an input counts as stale, early or broken."""

    plan_timeout: float = param(0.3, "s", 0.02, 2.0, "age of the newest plan")
    odometry_timeout: float = param(0.2, "s", 0.02, 2.0, "age of the newest odometry")
    radar_timeout: float = param(0.25, "s", 0.02, 2.0, "age of the newest scan of an expected radar")
    ultrasonic_timeout: float = param(0.5, "s", 0.02, 2.0, "age of the newest ping of an expected transducer")
    future_tolerance: float = param(0.05, "s", 0.0, 0.5, "stamps this far ahead are clock jitter")
    clock_jump: float = param(0.5, "s", 0.05, 10.0, "tick times further apart than this are a clock jump")
    frozen_time: float = param(0.3, "s", 0.1, 10.0, "moving, no content stays identical for so long; 1 s let ego hit")
    self_test_time: float = param(0.0, "s", 0.0, 10.0, "all must be well this long before INIT ends; 0: for one tick")
    control_timeout: float = param(0.2, "s", 0.02, 2.0, "age of the newest control command, when its topic is named")
    heartbeat_timeout: float = param(0.5, "s", 0.02, 10.0, "age of the policy's heartbeat, when its topic is named")
    overruns_max: int = param(3, "", 1, 100, "late ticks within a second that stop the vehicle; one keeps its speed")


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """What a plan must satisfy to be judged at all."""

    lateral_offset_max: float = param(1.0, "m", 0.05, 5.0, "start of plan beside ego")
    heading_offset_max: float = param(0.35, "rad", 0.02, 1.6, "start of plan against ego's heading")
    speed_offset_max: float = param(2.5, "m/s", 0.1, 20.0, "planned speed now against ego's speed")
    interval_max: float = param(1.0, "s", 0.05, 5.0, "between two points")
    acceleration_max: float = param(4.0, "m/s^2", 0.5, 12.0, "planned acceleration")
    deceleration_max: float = param(9.0, "m/s^2", 0.5, 15.0, "planned deceleration")
    lateral_acceleration_max: float = param(6.0, "m/s^2", 0.5, 12.0, "planned; below friction_min * g")
    jump_max: float = param(1.5, "m", 0.05, 10.0, "sideways, between consecutive plans, within the next second")
    jerk_max: float = param(60.0, "m/s^3", 1.0, 500.0, "planned, but for coming to rest; planners brake in steps")
    lateral_jerk_max: float = param(30.0, "m/s^3", 1.0, 200.0, "planned; a driven path read 11 by its noise")
    curvature_rate_max: float = param(0.5, "1/m/s", 0.01, 20.0, "planned or commanded: the wheel turns no faster")
    control_speed_offset_max: float = param(2.5, "m/s", 0.1, 20.0, "control command against the plan's speed")
    control_acceleration_offset_max: float = param(2.5, "m/s^2", 0.1, 20.0, "against its acceleration: feedback")
    control_curvature_offset_max: float = param(0.05, "1/m", 0.001, 10.0, "against its curvature: feedback")


@dataclass(frozen=True, slots=True)
class Sight:
    """Comparison of tracks with the objects that the policy reports."""

    timeout: float = param(0.5, "s", 0.05, 5.0, "an older list of objects says nothing")
    range: float = param(80.0, "m", 1.0, 300.0, "nearer than this the policy ought to see what is in the way")
    gate: float = param(3.0, "m", 0.1, 20.0, "a reported centre this close to a reflection is that object")
    gate_ratio: float = param(0.1, "", 0.0, 1.0, "and this share of the distance: cameras judge it badly")
    blind_time: float = param(0.5, "s", 0.0, 10.0, "not reported for this long is a blind spot")


@dataclass(frozen=True, slots=True)
class Arbitration:
    """Recovery."""

    release_dwell: float = param(1.0, "s", 0.0, 30.0, "hazard-free time before a milder mode")
    standstill_speed: float = param(0.1, "m/s", 0.001, 1.0, "ego stands below it")
    standstill_time: float = param(0.3, "s", 0.0, 5.0, "for this long")


@dataclass(frozen=True, slots=True)
class InputTopics:
    """Names of the vehicle-wide inputs and of their frames. Relative topics are resolved in the node's namespace."""

    odometry: str = choice("vehicle/odometry", (), "nav_msgs/Odometry; ego's motion is always expected")
    twist: str = choice("", (), "geometry_msgs/TwistStamped, when odometry is empty: the pose is integrated from it")
    imu: str = choice("", (), "sensor_msgs/Imu: its yaw rate replaces that of odometry or twist")
    plan: str = choice("policy/trajectory", (), "trajectory_msgs/MultiDOFJointTrajectory or nav_msgs/Path")
    candidates: str = choice("", (), "more plan topics in the policy's order, by commas; the first admissible passes")
    plan_expected: bool = choice(True, (), "false: the physical extrapolation of the present motion is judged")
    control: str = choice("", (), "geometry_msgs/TwistStamped or autoware_control_msgs/Control; expected when named")
    heartbeat: str = choice("", (), "std_msgs/Empty or Header: the policy is alive; expected when named")
    objects: str = choice("", (), "what the policy sees: geometry_msgs/PoseArray or an object list; never trusted")
    room: str = choice("", (), "std_msgs/Float64MultiArray, free room left and right of the plan [m]; untrusted")
    driver: str = choice("vehicle/driver_takeover", (), "std_msgs/Bool, true while the driver controls the vehicle")
    body_frame: str = choice("base_link", (), "child_frame_id of odometry, frame of speeds; another one is refused")
    odometry_frame: str = choice("", (), "frame of odometry; empty: that of the first one; another one is refused")


@dataclass(frozen=True, slots=True)
class Sensor:
    """One radar or ultrasonic transducer: mount in base_link, view, noise."""

    kind: str = choice("radar", SENSOR_KINDS, "radar: detections; radar_tracks: object list of an ECU")
    topic: str = choice("", (), "topic of this sensor")
    expected: bool = choice(True, (), "only an expected sensor can be missing")
    frame: str = choice("", (), "frame of the mount in /tf_static (`mounts`); messages of another one are refused")
    x: float = param(3.7, "m", -30.0, 30.0, "mount, forward of base_link")
    y: float = param(0.0, "m", -5.0, 5.0, "mount, left of base_link")
    yaw: float = param(0.0, "rad", -math.pi, math.pi, "boresight, counter-clockwise")
    half_angle: float = param(1.05, "rad", 0.02, math.pi, "half of the field of view")
    range_min: float = param(0.5, "m", 0.0, 10.0, "nearest range")
    range_max: float = param(200.0, "m", 0.5, 500.0, "farthest range")
    sigma_range: float = param(0.25, "m", 0.001, 5.0, "range noise")
    sigma_azimuth: float = param(0.007, "rad", 0.0001, 1.0, "azimuth noise")
    sigma_range_rate: float = param(0.12, "m/s", 0.001, 5.0, "range-rate noise")
    latency: float = param(0.0, "s", 0.0, 0.5, "measurement before the stamp of the message")
    exclude_from: float = param(0.0, "rad", -math.pi, math.pi, "sector of ego's own returns, in the sensor's azimuth")
    exclude_to: float = param(0.0, "rad", -math.pi, math.pi, "its end; what is inside and near is left out")
    exclude_range: float = param(0.0, "m", 0.0, 10.0, "up to this range; 0 = no sector; inside ego's outline always")
    doppler_sign: float = choice(1.0, (1.0, -1.0), "-1 when the driver counts approach as positive")
    fields: str = choice("", (), "point fields called otherwise, as doppler=v_mps,azimuth=az; empty: known names")
    angle_unit: str = choice("rad", ("rad", "deg"), "unit of the azimuth field")
    reliable: bool = choice(False, (), "ask for reliable delivery; a best-effort publisher then does not match")
    depth: int = param(20, "", 1, 1000, "messages kept between two ticks")
    deadline: float = param(0.0, "s", 0.0, 10.0, "ask publishers for it, misses are reported at once; 0: do not ask")


GROUPS: dict[str, type[Any]] = {
    "vehicle": Vehicle, "odd": Odd, "timing": Timing, "envelope": Envelope, "fallback": Fallback,
    "corridor": Corridor, "expected": Expected, "near_field": NearField, "authority": Authority,
    "tracking": Tracking, "ultrasonics": Ultrasonics, "health": Health, "plan_check": PlanCheck, "sight": Sight,
    "arbitration": Arbitration, "inputs": InputTopics,
}  # fmt: skip


HINTS = {group: get_type_hints(group) for group in (*GROUPS.values(), Sensor)}


@dataclass(frozen=True, slots=True)
class Config:
    """One vehicle's complete, validated parameter set."""

    vehicle: Vehicle = Vehicle()
    odd: Odd = Odd()
    timing: Timing = Timing()
    envelope: Envelope = Envelope()
    fallback: Fallback = Fallback()
    corridor: Corridor = Corridor()
    expected: Expected = Expected()
    near_field: NearField = NearField()
    authority: Authority = Authority()
    tracking: Tracking = Tracking()
    ultrasonics: Ultrasonics = Ultrasonics()
    health: Health = Health()
    plan_check: PlanCheck = PlanCheck()
    sight: Sight = Sight()
    arbitration: Arbitration = Arbitration()
    inputs: InputTopics = InputTopics()
    sensors: tuple[tuple[str, Sensor], ...] = ()
    certificate: str | None = None
    """Hash of the proof certificate that matches this parameter set, or None: shadow mode only."""
    digest: str = field(init=False, default="")
    """SHA-256 of every parameter (not of the certificate), the name of this parameter set."""

    def __post_init__(self) -> None:
        problems = [*_range_problems(self)] or [text for holds, text in cross_rules(self) if not holds]
        if problems:
            raise ConfigError("; ".join(problems))
        canonical = json.dumps(to_mapping(self), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).hexdigest())

    def sensors_of(self, *kinds: str) -> dict[str, Sensor]:
        """Sensors of the given kinds by name, in order of the vehicle file."""
        return {name: sensor for name, sensor in self.sensors if sensor.kind in kinds}


def cross_rules(config: Config) -> Iterator[tuple[bool, str]]:
    """Yield (holds, text) for every rule between parameters; the proofs assume the same rules."""
    e, f, x, h, o, v = (config.envelope, config.fallback, config.expected, config.health, config.odd, config.vehicle)
    t, a = config.timing, config.authority

    def rule(holds: bool, left: str, relation: str, right: str) -> tuple[bool, str]:
        return holds, f"{left} = {_lookup(config, left)} must be {relation} {right}"

    yield rule(f.comfort_deceleration <= f.firm_deceleration, "fallback.comfort_deceleration", "<=",
               f"fallback.firm_deceleration = {f.firm_deceleration}")
    yield rule(f.firm_deceleration <= f.emergency_deceleration, "fallback.firm_deceleration", "<=",
               f"fallback.emergency_deceleration = {f.emergency_deceleration}")
    yield rule(e.acceleration_margin <= e.acceleration_max, "envelope.acceleration_margin", "<=",
               f"envelope.acceleration_max = {e.acceleration_max}")
    yield rule(x.cap_threshold <= x.comfort_threshold, "expected.cap_threshold", "<=",
               f"expected.comfort_threshold = {x.comfort_threshold}")
    yield rule(x.comfort_threshold <= x.firm_threshold, "expected.comfort_threshold", "<=",
               f"expected.firm_threshold = {x.firm_threshold}")
    yield rule(x.comfort_threshold < f.comfort_deceleration, "expected.comfort_threshold", "<",
               f"fallback.comfort_deceleration = {f.comfort_deceleration}, or that stop would come too late")
    yield rule(x.firm_threshold < f.firm_deceleration, "expected.firm_threshold", "<",
               f"fallback.firm_deceleration = {f.firm_deceleration}, or that stop would come too late")
    yield rule(a.speed_cap <= a.stop, "authority.speed_cap", "<=", f"authority.stop = {a.stop}")
    yield rule(a.stop <= a.emergency, "authority.stop", "<=", f"authority.emergency = {a.emergency}")
    yield rule(a.emergency <= config.tracking.existence_max, "authority.emergency", "<=",
               f"tracking.existence_max = {config.tracking.existence_max}")
    for name in ("plan_timeout", "odometry_timeout", "radar_timeout", "ultrasonic_timeout", "clock_jump",
                 "control_timeout", "heartbeat_timeout"):
        yield rule(getattr(h, name) > t.period, f"health.{name}", ">", f"timing.period = {t.period}")
    yield rule(config.near_field.approach_tolerance < config.near_field.stop_distance,
               "near_field.approach_tolerance", "<", f"near_field.stop_distance = {config.near_field.stop_distance}")
    grip = GRAVITY * (o.friction_min * math.cos(o.grade_max) - math.sin(o.grade_max))
    yield rule(f.emergency_deceleration <= grip, "fallback.emergency_deceleration", "<=",
               f"{grip:.3f} m/s^2, the grip that odd.friction_min leaves on odd.grade_max")
    force = v.brake_force_max / (v.mass + o.load_max) - GRAVITY * math.sin(o.grade_max)
    yield rule(f.emergency_deceleration <= force, "fallback.emergency_deceleration", "<=",
               f"{force:.3f} m/s^2, what vehicle.brake_force_max gives at odd.load_max on odd.grade_max")
    i = config.inputs
    yield bool(i.odometry or i.twist), "inputs.odometry and inputs.twist are both empty, one of them must be given"
    names = [name for name, _ in config.sensors]
    for name, sensor in config.sensors:
        key = f"sensors.{name}"
        yield names.count(name) == 1, f"{key} stands twice"
        yield name not in RESERVED, f"{key} has the name of another input, none of {', '.join(RESERVED)} is allowed"
        yield (bool(sensor.topic), f"{key}.topic is missing")
        yield _aliases_ok(sensor.fields), (
            f"{key}.fields = {sensor.fields!r} must be role=name pairs, roles {', '.join(FIELD_ROLES)}"
        )
        yield (sensor.range_min < sensor.range_max,
               f"{key}.range_min = {sensor.range_min} must be < {key}.range_max = {sensor.range_max}")


def aliases(text: str) -> dict[str, str]:
    """Return the point fields of `Sensor.fields` by role."""
    return dict(pair.split("=", 1) for pair in text.replace(" ", "").split(",") if "=" in pair)


def _aliases_ok(text: str) -> bool:
    pairs = [pair.partition("=") for pair in text.replace(" ", "").split(",") if pair]
    roles = [role for role, _, _ in pairs]
    return len(set(roles)) == len(roles) and all(role in FIELD_ROLES and name for role, _, name in pairs)


def parameters(group: type[Any]) -> Iterator[Field[Any]]:
    """Yield the declared parameters of a group in order."""
    yield from (f for f in fields(group) if "why" in f.metadata)


def to_mapping(config: Config) -> dict[str, Any]:
    """Return plain nested data, the inverse of `from_mapping`."""
    out: dict[str, Any] = {name: _plain(getattr(config, name)) for name in GROUPS}
    out["sensors"] = {name: _plain(sensor) for name, sensor in config.sensors}
    return out


def from_mapping(data: Mapping[str, Any], source: str = "configuration", certificate: str | None = None) -> Config:
    """Build a `Config` from nested plain data; every key is optional, none may be unknown.

    Raises `ConfigError` naming source, key, value and allowed range for each problem found.
    """
    problems: list[str] = []
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected a mapping of parameter groups, got {type(data).__name__}")
    _unknown(data, [*GROUPS, "sensors"], "", problems)
    groups = {name: _group(cls, data.get(name, {}), name, problems) for name, cls in GROUPS.items()}
    sensors = {} if data.get("sensors") is None else data["sensors"]
    if not isinstance(sensors, Mapping):
        problems.append(f"sensors = {sensors!r} must be a mapping of sensor names")
        sensors = {}
    built = [(str(n), _group(Sensor, values, f"sensors.{n}", problems)) for n, values in sensors.items()]
    if problems:
        raise ConfigError(f"{source}: " + "; ".join(problems))
    try:
        return Config(**groups, sensors=tuple(built), certificate=certificate)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def with_values(config: Config, values: Mapping[str, Any], source: str = "--set") -> Config:
    """Return a copy with dotted keys replaced, validated like a file; the certificate is dropped."""
    data = to_mapping(config)
    for key, value in values.items():
        node: Any = data
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise ConfigError(f"{source}: unknown key {key}, {'.'.join(path)} is a value")
        node[last] = value
    return from_mapping(data, source)


def with_certificate(config: Config, certificate: str | None) -> Config:
    """Return the same parameter set bound to a certificate hash."""
    return replace(config, certificate=certificate)


def describe_range(declared: Field[Any]) -> str:
    """Return the allowed values of a parameter in words."""
    meta = declared.metadata
    if "low" in meta:
        return f"[{meta['low']:g}, {meta['high']:g}] {meta['unit']}".rstrip()
    return "one of " + ", ".join(map(repr, meta["allowed"])) if meta["allowed"] else f"any {_type_name(declared)}"


def _type_name(declared: Field[Any]) -> str:
    return str(declared.type)


def _lookup(config: Config, key: str) -> Any:
    group, name = key.split(".")
    return getattr(getattr(config, group), name)


def _plain(group: Any) -> dict[str, Any]:
    return {f.name: getattr(group, f.name) for f in parameters(type(group))}


def _unknown(data: Mapping[str, Any], known: list[str], prefix: str, problems: list[str]) -> None:
    strange = []
    for key in data:
        if key in known:
            continue
        close = difflib.get_close_matches(str(key), known, 1)
        if close:
            problems.append(f"unknown key {prefix}{key}, did you mean {prefix}{close[0]}?")
        else:
            strange.append(f"{prefix}{key}")
    if strange:
        problems.append(f"unknown key{'s' * (len(strange) > 1)} {', '.join(strange)}; known: {', '.join(known)}")


def _group(cls: type[Any], data: Any, prefix: str, problems: list[str]) -> Any:
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        problems.append(f"{prefix} = {data!r} must be a mapping of parameters")
        return cls()
    declared = {f.name: f for f in parameters(cls)}
    _unknown(data, list(declared), f"{prefix}.", problems)
    hints = HINTS[cls]
    values = {}
    for name, spec in declared.items():
        if name in data:
            value = _typed(data[name], hints[name], f"{prefix}.{name}", spec, problems)
            if value is not MISSING:
                values[name] = value
    return cls(**values)


def _typed(value: Any, kind: type[Any], key: str, spec: Field[Any], problems: list[str]) -> Any:
    """Check type and range; return MISSING after noting a problem. Integers are accepted as floats."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf  # too large an integer has no float at all
    if type(value) is not kind:
        problems.append(f"{key} = {value!r} must be {kind.__name__}, {describe_range(spec)}")
        return MISSING
    text = _outside(value, key, spec)
    if text:
        problems.append(text)
        return MISSING
    return value


def _outside(value: Any, key: str, spec: Field[Any]) -> str | None:
    meta = spec.metadata
    if "low" in meta and not meta["low"] <= value <= meta["high"]:  # refuses NaN too
        return f"{key} = {value} is outside {describe_range(spec)}"
    if meta.get("allowed") and value not in meta["allowed"]:
        return f"{key} = {value!r} must be {describe_range(spec)}"
    return None


def _range_problems(config: Config) -> Iterator[str]:
    named: list[tuple[str, Any]] = [(name, getattr(config, name)) for name in GROUPS]
    named += [(f"sensors.{name}", sensor) for name, sensor in config.sensors]
    for prefix, group in named:
        kind = GROUPS.get(prefix, Sensor)
        if not isinstance(group, kind):
            yield f"{prefix} = {group!r} must be a {kind.__name__}"
            continue
        hints = HINTS[kind]
        problems: list[str] = []
        for spec in parameters(kind):
            _typed(getattr(group, spec.name), hints[spec.name], f"{prefix}.{spec.name}", spec, problems)
        yield from problems
