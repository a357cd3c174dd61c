"""What one tick hands to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from safety_supervisor.core import delivery, doppler_sign, health, policy_watch, tracking
from safety_supervisor.core.arbitration import Arbiter
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import ControlCommand, Finding, FreeRoom, Mode, Plan, Tracks


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of the MRM under way."""

    plan: Plan
    """Where it leads, as a path: its speeds are those of its beginning."""
    offset: float
    """[m] to the left."""
    given_up: bool = False
    """It had hardly begun when something stood in its way; there is no second one in the same MRM."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that one tick hands to the next."""

    memory: health.Memory = field(default_factory=health.Memory)
    ego: tracking.EgoHistory = field(default_factory=tracking.EgoHistory)
    drift: tracking.Drift = field(default_factory=tracking.Drift)
    """Whether ego's speed and pose say the same."""
    tracker: tracking.TrackerState = field(default_factory=tracking.TrackerState.empty)
    ultrasonics: tracking.UltrasonicState = field(default_factory=tracking.UltrasonicState.empty)
    signs: doppler_sign.Scores = ()
    """Whether each radar counts range rates as declared."""
    monitors: tracking.Monitors = field(default_factory=tracking.Monitors)
    """What the sensors say about themselves and about odometry."""
    plan: Plan | None = None
    """Newest plan, good or not."""
    plan_findings: tuple[Finding, ...] = ()
    """What was wrong with it when it came."""
    others: tuple[tuple[Plan, tuple[Finding, ...]], ...] = ()
    """The newest of each further candidate and what was wrong with it, in the policy's order."""
    validated: Plan | None = None
    """Newest plan that passed every check: MRMs steer along it."""
    arbiter: Arbiter = field(default_factory=Arbiter)
    well: int | None = None
    """Tick since when nothing has been wrong in INIT."""
    control: tuple[ControlCommand, ...] = ()
    """The newest control command, and the one before it."""
    sight: policy_watch.Sight = field(default_factory=policy_watch.Sight)
    driver: bool = False
    requested: Mode = Mode.NOMINAL
    """Stop that was asked for from outside and still is."""
    acceleration: float = 0.0
    """Last commanded acceleration [m/s^2]."""
    told: Plan | None = None
    """The stop that was commanded in the last tick while odometry said nothing new; it goes on as if ego followed."""
    before: Tracks = field(default_factory=Tracks)
    """Tracks of the last tick."""
    ahead: tracking.Ahead = ()
    """Tracks that were in ego's way then, and what each may ask for when it vanishes."""
    room: FreeRoom | None = None
    """Newest statement of free room beside the plan."""
    shift: Shift | None = None
    executed: bool = False
    """What is decided is executed, as that of an armed supervisor; else there is no delivery to watch."""
    delivery: delivery.Delivery = field(default_factory=delivery.Delivery)
    """What the brakes made of the MRM under way."""


def start(config: Config, executed: bool | None = None) -> State:
    """Return the state before the first tick; None: decisions are executed where a certificate holds."""
    return State(executed=config.certificate is not None if executed is None else executed)
