"""Every type that crosses a module: what comes in, what is believed, what is decided.

Frozen dataclasses with read-only arrays; state is replaced, never edited. SI units, radians, time as int nanoseconds.
Axes after REP-103 (x forward, y left, yaw counter-clockwise); frames after REP-105. Tracks and plans live in `odom`,
so that what stands still has zero velocity; sensor readings live in their sensor's frame. Decelerations are positive.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Array = TypeVar("Array", Floats, Ints, Bools)

NANOSECONDS = 1_000_000_000


def seconds(nanoseconds: int) -> float:
    """Convert a time difference [ns] to seconds; the only place where this is done."""
    return nanoseconds / NANOSECONDS


def nanoseconds(duration: float) -> int:
    """Convert a duration [s] to whole nanoseconds."""
    return round(duration * NANOSECONDS)


def frozen(values: Any, dtype: Any = np.float64) -> Any:
    """Return a read-only array of `values`; copies when the source could still be written."""
    array = np.asarray(values, dtype)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def owned(array: Array) -> Array:
    """Return a new array made read-only in place, so that `frozen` need not copy it: nobody else writes to it."""
    array.flags.writeable = False
    return array


# --- what comes in -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Odometry:
    """Ego pose in `odom` and motion of `base_link` at time `t`; the pose may start anywhere, it must be continuous."""

    t: int
    x: float
    y: float
    yaw: float
    speed: float
    """Signed, along ego's x axis [m/s]."""
    yaw_rate: float
    """[rad/s]; NaN when the source gives none: the extrapolation is then a widening straight corridor."""


@dataclass(frozen=True, slots=True)
class RadarScan:
    """Detections of one radar at time `t`, polar in the sensor's frame; arrays of equal length N.

    Ready-made ECU object lists arrive in the same form (`from_objects`): position and relative velocity as range [m],
    azimuth [rad] and range rate [m/s] (negative = approaching, already sign-corrected).
    """

    sensor: str
    t: int
    range: Floats
    azimuth: Floats
    range_rate: Floats
    from_objects: bool = False
    sigma: Floats | None = None
    """(N, 3) standard deviations of range, azimuth, range rate of an object list; 0 or not finite = unknown."""
    trust: Floats | None = None
    """(N,) how far its ECU believes in each object, 0 (not valid) to 1; None = it does not say."""
    half_width: Floats | None = None
    """(N,) half of each object's extent across the line of sight [m]; 0 or not finite = unknown."""

    def __post_init__(self) -> None:
        for name in ("range", "azimuth", "range_rate", "sigma", "trust", "half_width"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class RangeReading:
    """One ping of one ultrasonic transducer. `range` follows REP-117: +inf no echo, -inf too close, NaN invalid."""

    sensor: str
    t: int
    range: float
    range_min: float
    range_max: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned or commanded trajectory: N points of `base_link` in `odom`, `time` [s] after `t`."""

    t: int
    time: Floats
    x: Floats
    y: Floats
    yaw: Floats
    speed: Floats
    """Signed [m/s]."""
    candidate: int = 0
    """Place in the policy's own order of candidates; 0 is the plan itself."""

    def __post_init__(self) -> None:
        for name in ("time", "x", "y", "yaw", "speed"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class DriverMode:
    """Whether a human driver has taken over."""

    t: int
    takeover: bool


@dataclass(frozen=True, slots=True)
class ControlCommand:
    """What the policy's controller asks of the actuators at time `t`; NaN where the message has no such column."""

    t: int
    acceleration: float
    """[m/s^2]"""
    speed: float
    """Signed [m/s]."""
    curvature: float
    """Positive to the left [1/m]."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The policy says that it is alive."""

    t: int


@dataclass(frozen=True, slots=True)
class SeenObjects:
    """Objects that the policy reports: N centres in `odom` [m] at time `t`, and where ego was then. Untrusted."""

    t: int
    x: Floats
    y: Floats
    ego_x: float = 0.0
    ego_y: float = 0.0

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class FreeRoom:
    """Room that is given as free beside the body along the whole plan [m], at time `t`. Untrusted: it may be less."""

    t: int
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that could not be understood; `source` is its sensor name, or odometry, plan, driver."""

    source: str
    t: int
    why: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that arrived since the last tick, in canonical order: by topic, then by arrival."""

    odometry: tuple[Odometry, ...] = ()
    radar: tuple[RadarScan, ...] = ()
    ranges: tuple[RangeReading, ...] = ()
    plans: tuple[Plan, ...] = ()
    driver: tuple[DriverMode, ...] = ()
    invalid: tuple[Invalid, ...] = ()
    release: bool = False
    """An explicit release after an emergency stop was asked for."""
    requested: Mode | None = None
    """A stop that was asked for from outside, NOMINAL when no longer; None when nothing was said."""
    consumed: tuple[tuple[str, int], ...] = ()
    """(topic, messages consumed this tick), sorted by topic; replay regroups by it."""
    control: tuple[ControlCommand, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    objects: tuple[SeenObjects, ...] = ()
    room: tuple[FreeRoom, ...] = ()


# --- what is believed ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tracks:
    """Radar tracks as a structure of arrays, predicted to time `t`, in `odom`; M rows ordered by id."""

    t: int = 0
    id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    state: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    """(M, 4): x, y [m], vx, vy [m/s] of the tracked reflection."""
    cov: Floats = field(default_factory=lambda: np.zeros((0, 4, 4)))
    """(M, 4, 4) covariance of `state`."""
    existence: Floats = field(default_factory=lambda: np.zeros(0))
    """(M,) probability that an object is there."""
    updated: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(M,) time of the newest detection used [ns]."""
    hits: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(M,) detections used so far."""
    moved: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(M,) has been seen moving; a return that never moved may be a bridge or a sign."""
    extent: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    """(M, 2) of the body's returns beside the reflection across the line of sight, and behind it [m]; 0 = a point."""
    suspect: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(M,) looks like a reflection of another track; it stays, and may do less."""

    def __post_init__(self) -> None:
        if len(self.extent) != len(self.id):
            object.__setattr__(self, "extent", np.zeros((len(self.id), 2)))
        if len(self.suspect) != len(self.id):
            object.__setattr__(self, "suspect", np.zeros(len(self.id), np.bool_))
        for name, kind in (("id", np.int64), ("state", float), ("cov", float), ("existence", float),
                           ("updated", np.int64), ("hits", np.int64), ("moved", np.bool_), ("extent", float),
                           ("suspect", np.bool_)):
            object.__setattr__(self, name, frozen(getattr(self, name), kind))

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: Ints | Bools) -> Tracks:
        """Return the tracks of some rows."""
        return Tracks(self.t, self.id[rows], self.state[rows], self.cov[rows], self.existence[rows], self.updated[rows],
                      self.hits[rows], self.moved[rows], self.extent[rows], self.suspect[rows])


class Echo(enum.Enum):
    """What a transducer says; `CLEAR` is free up to range_max, `BLIND` says nothing."""

    OBJECT = "object"
    TOO_CLOSE = "too_close"
    CLEAR = "clear"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Arc:
    """Near-field finding of one transducer: an object somewhere on an arc, never a point."""

    sensor: str
    t: int
    """Time of the last ping [ns]."""
    echo: Echo
    range: float
    """Filtered range [m] from the transducer, predicted to the tick; range_max when clear, 0 when too close."""
    range_sigma: float
    range_rate: float
    """[m/s], negative = approaching."""
    confirmed: bool
    x: float
    """Transducer in base_link [m]."""
    y: float
    yaw: float
    half_angle: float
    low: float = -np.inf
    """Bearings from boresight between which the object is [rad]; the cone itself where nothing narrows it."""
    high: float = np.inf


class Code(enum.Enum):
    """Why: every reason and every health finding has one of these names."""

    ENVELOPE = "ENVELOPE"
    EXTRAPOLATION = "EXTRAPOLATION"
    EXPECTED_MOTION = "EXPECTED_MOTION"
    TTC = "TTC"
    CUT_IN = "CUT_IN"
    CROSSING = "CROSSING"
    NEAR_FIELD = "NEAR_FIELD"
    CLEAR_DISTANCE = "CLEAR_DISTANCE"
    WAY_UNCOVERED = "WAY_UNCOVERED"
    PLAN_MISSING = "PLAN_MISSING"
    PLAN_STALE = "PLAN_STALE"
    PLAN_FUTURE = "PLAN_FUTURE"
    PLAN_INVALID = "PLAN_INVALID"
    PLAN_NOT_FINITE = "PLAN_NOT_FINITE"
    PLAN_NOT_ORDERED = "PLAN_NOT_ORDERED"
    PLAN_OFF_EGO = "PLAN_OFF_EGO"
    PLAN_INFEASIBLE = "PLAN_INFEASIBLE"
    PLAN_TOO_SHORT = "PLAN_TOO_SHORT"
    PLAN_JUMP = "PLAN_JUMP"
    PLAN_FROZEN = "PLAN_FROZEN"
    ODOMETRY_MISSING = "ODOMETRY_MISSING"
    ODOMETRY_STALE = "ODOMETRY_STALE"
    ODOMETRY_FUTURE = "ODOMETRY_FUTURE"
    ODOMETRY_INVALID = "ODOMETRY_INVALID"
    ODOMETRY_FROZEN = "ODOMETRY_FROZEN"
    ODOMETRY_JUMP = "ODOMETRY_JUMP"
    ODOMETRY_SCALE = "ODOMETRY_SCALE"
    ODOMETRY_IMPLAUSIBLE = "ODOMETRY_IMPLAUSIBLE"
    ODOMETRY_CONTRADICTED = "ODOMETRY_CONTRADICTED"
    RADAR_MISSING = "RADAR_MISSING"
    RADAR_STALE = "RADAR_STALE"
    RADAR_FUTURE = "RADAR_FUTURE"
    RADAR_INVALID = "RADAR_INVALID"
    RADAR_FROZEN = "RADAR_FROZEN"
    RADAR_INCONSISTENT = "RADAR_INCONSISTENT"
    RADAR_OBSTRUCTED = "RADAR_OBSTRUCTED"
    RADAR_BLOCKED = "RADAR_BLOCKED"
    ULTRASONIC_MISSING = "ULTRASONIC_MISSING"
    ULTRASONIC_STALE = "ULTRASONIC_STALE"
    ULTRASONIC_FUTURE = "ULTRASONIC_FUTURE"
    ULTRASONIC_INVALID = "ULTRASONIC_INVALID"
    ULTRASONIC_STUCK = "ULTRASONIC_STUCK"
    ULTRASONIC_BLOCKED = "ULTRASONIC_BLOCKED"
    ULTRASONIC_CONTRADICTED = "ULTRASONIC_CONTRADICTED"
    CONTROL_MISSING = "CONTROL_MISSING"
    CONTROL_STALE = "CONTROL_STALE"
    CONTROL_FUTURE = "CONTROL_FUTURE"
    CONTROL_INVALID = "CONTROL_INVALID"
    CONTROL_INFEASIBLE = "CONTROL_INFEASIBLE"
    CONTROL_OFF_PLAN = "CONTROL_OFF_PLAN"
    HEARTBEAT_MISSING = "HEARTBEAT_MISSING"
    HEARTBEAT_STALE = "HEARTBEAT_STALE"
    HEARTBEAT_FUTURE = "HEARTBEAT_FUTURE"
    HEARTBEAT_INVALID = "HEARTBEAT_INVALID"
    OBJECTS_INVALID = "OBJECTS_INVALID"
    OBJECTS_FUTURE = "OBJECTS_FUTURE"
    ROOM_INVALID = "ROOM_INVALID"
    ROOM_FUTURE = "ROOM_FUTURE"
    POLICY_BLIND = "POLICY_BLIND"
    PLAN_REJECTED = "PLAN_REJECTED"
    EGO_ROLLS_BACK = "EGO_ROLLS_BACK"
    EGO_OVERRUNS = "EGO_OVERRUNS"
    DRIVER_INVALID = "DRIVER_INVALID"
    INPUT_INVALID = "INPUT_INVALID"
    DOPPLER_SIGN = "DOPPLER_SIGN"
    CLOCK_JUMP = "CLOCK_JUMP"
    CLOCK_STOPPED = "CLOCK_STOPPED"
    LOOP_OVERRUN = "LOOP_OVERRUN"
    LOOP_STALLED = "LOOP_STALLED"
    OUT_OF_ODD = "OUT_OF_ODD"
    SELF_TEST = "SELF_TEST"
    REQUESTED = "REQUESTED"
    BRAKE_SHORTFALL = "BRAKE_SHORTFALL"
    RELEASE_PENDING = "RELEASE_PENDING"
    DWELL = "DWELL"
    DRIVER = "DRIVER"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong with an input: which one, what, and since when."""

    code: Code
    source: str
    """Sensor name, or odometry, plan, clock, driver."""
    text: str


class Severity(enum.IntEnum):
    """How trustworthy the inputs are, worst finding counts."""

    OK = 0
    SUSPECT = 1
    """A message was refused, its input is still fresh: do not speed up."""
    DEGRADED = 2
    """An expected input is lost: stop while the rest still sees."""
    WAITING = 3
    """An expected input has not arrived yet since start: no plan is passed."""
    BLIND = 4
    """Ego motion itself is unknown: the envelope cannot be evaluated."""


@dataclass(frozen=True, slots=True)
class Health:
    """Trust in the inputs at a tick."""

    severity: Severity = Severity.OK
    findings: tuple[Finding, ...] = ()


# --- what is decided -----------------------------------------------------------------------------------------------


class Mode(enum.IntEnum):
    """Modes of authority; the value is the rank, except that STANDSTILL is the end state (MRC)."""

    INIT = 0
    NOMINAL = 1
    SPEED_CAP = 2
    COMFORT_STOP = 3
    FIRM_STOP = 4
    EMERGENCY_STOP = 5
    UNABLE = 6
    """Ranks as EMERGENCY_STOP: strongest braking although the envelope cannot be evaluated."""
    STANDSTILL = 7

    @property
    def brakes(self) -> bool:
        """Whether a minimal-risk manoeuvre is under way or done."""
        return self >= Mode.COMFORT_STOP


class Mrm(enum.IntEnum):
    """What may be done once a stop is due; the value is the rank, and that of a stop is the value of its mode."""

    SHIFT = 0
    """An emergency stop into room beside the path: only what is better than everything else makes this layer steer."""
    PLAN = 1
    """The policy's own plan goes on."""
    COAST = 2
    """Let go of the brake."""
    COMFORT = 3
    FIRM = 4
    EMERGENCY = 5


class Verdict(enum.IntEnum):
    """Verdict of a rule at run time."""

    SAFE = 0
    MARGINAL = 1
    UNSAFE = 2
    IMMINENT = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a mode, in words and numbers."""

    code: Code
    text: str
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Threat:
    """One track or arc as judged against the plan."""

    track: int | None
    """Track id, None for an ultrasonic arc."""
    source: str
    """"radar" or the transducer's name."""
    gap: float
    """Along the path from ego's front bumper to the near edge [m]."""
    lateral: float
    """Signed distance of the reflection from the path [m]."""
    closing_speed: float
    """[m/s], positive = approaching."""
    margin: float
    """Worst-case envelope margin [m]."""
    required: float
    """Deceleration [m/s^2] that the expected motion requires of ego; 0 when the plan itself keeps clear."""
    ttc: float
    """Display only [s], inf when not closing."""
    demand: Mode
    code: Code
    drac: float = 0.0
    """Constant deceleration [m/s^2] that avoids contact when the object keeps its speed; 0 when not closing."""
    pet: float = float("inf")
    """Time [s] between one leaving the place where the ways meet and the other coming there, both at constant speed; 0
    when they are there together, inf when the object does not come to or leave ego's way."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Every rule and every object against the plan at one tick."""

    verdict: Verdict
    demand: Mode
    sustain: Mode
    """Weakest stop that a manoeuvre under way must go on with: COMFORT_STOP while the policy's plan still leads into an
    object, NOMINAL otherwise."""
    margin: float
    """Smallest worst-case margin [m]; +inf when nothing is in the way; NaN = could not be evaluated."""
    margins: tuple[tuple[str, float], ...]
    """(rule, smallest margin [m]) for each rule; +inf where nothing is in the way."""
    track: int | None
    """Id of the track with the smallest margin."""
    lead: int | None
    """Id of the nearest confirmed moving track in the corridor."""
    reasons: tuple[Reason, ...]
    threats: tuple[Threat, ...]
    speed_cap: float
    """Largest admissible speed [m/s], +inf when uncapped."""
    ease: bool = False
    """Braking would make a miss a hit, or a soft contact a hard one: a stop under way coasts."""
    least: Mrm | None = None
    """What has the least predicted impact, where every MRM leaves the worst-case envelope; None while one stays in."""
    shift: float = 0.0
    """Of `least` SHIFT, how far to the left [m]."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the supervisor does at tick `t`, and all that a report or replay needs to explain it."""

    t: int
    mode: Mode
    verdict: Verdict
    assessment: Assessment
    reasons: tuple[Reason, ...]
    """Why the mode is what it is, strongest first; empty in NOMINAL."""
    health: Health
    warn: bool
    plan_source: str
    """"policy", "extrapolation", "last validated" while the policy's plan is not usable, or "shift"."""
    candidate: int
    """Which of the policy's candidates is judged and passed, 0 the first."""
    command: Plan | None
    """Trajectory to execute: the plan, the capped plan or the MRM; None in INIT and while a driver controls."""
    fallback: Plan | None
    """Emergency fallback along the last validated path; what the command gate executes on silence."""
    acceleration: float
    """Longitudinal demand now [m/s^2], negative = braking; of the farthest corner in a turn on the spot."""
    curvature: float
    """Path curvature demand now [1/m]."""
    hazard_lights: bool
    takeover_request: bool
    hold: bool
    """Hold the vehicle at standstill."""
    driver: bool
    """A human drives: the decision is recorded, not executed."""
    ego: Odometry | None
    """Ego predicted to `t`."""
    path: Floats
    """(K, 2) judged path in odom, [m]."""
    half_width: float
    """Half-width of the judged corridor at ego [m]."""
    tracks: Tracks
    arcs: tuple[Arc, ...]
    consumed: tuple[tuple[str, int], ...]
    blind_spots: int
    """Tracks in the way that the policy's own objects lacked, counted since the start."""
    config: str
    """Digest of the parameter set."""
    certificate: str | None


def sorted_counts(counts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return (topic, count) pairs in canonical order, without zeros."""
    return tuple(sorted((topic, n) for topic, n in counts if n))
