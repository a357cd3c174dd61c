"""Does the vehicle brake as it is told? The envelope counts on the fallback; a brake that gives less makes it untrue.

While an MRM is executed, the speed that ego has lost over the last moments is compared with what was demanded one
actuation delay earlier. What is missing for long enough is a finding, marks the model of the fallback as violated until
ego stands or a human drives, and asks for the next stronger stop. Only an armed supervisor watches (`State.executed`):
in shadow mode nobody executes what it decides, with a certificate or without. SI units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Code, Finding, Mode, nanoseconds, seconds

WINDOW = 0.4
"""Speed is compared over this time [s]: shorter, and the noise of the odometry is a deceleration."""
TOLERANCE = 1.0
"""Missing deceleration [m/s^2] that is noise, slope and load within the operational design domain ..."""
SHARE = 0.2
"""... and the share of what was demanded that is, too."""
SHORT_TIME = 0.5
"""It must be missing for this long [s]."""
STRONGER = {Mode.COMFORT_STOP: Mode.FIRM_STOP, Mode.FIRM_STOP: Mode.EMERGENCY_STOP}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was demanded and what came of it, since an MRM began."""

    asked: tuple[tuple[int, float, float], ...] = ()
    """(tick, speed >= 0 read then, acceleration demanded from then on), oldest first."""
    short: int | None = None
    """Tick since when braking has been missing."""
    missing: float = 0.0
    """Deceleration that is missing now [m/s^2]."""
    demand: Mode = Mode.NOMINAL
    """Stop that is asked for because a milder one was not delivered; NOMINAL while the model holds."""

    @property
    def violated(self) -> bool:
        """Whether the model of the fallback has been found untrue."""
        return self.demand > Mode.NOMINAL


def watched(delivery: Delivery, mode: Mode, speed: float, acceleration: float, t: int, config: Config) -> Delivery:
    """Return the memory after a tick in which `mode` demanded `acceleration` [m/s^2] of an ego at `speed` [m/s]."""
    stops = Mode.COMFORT_STOP <= mode <= Mode.UNABLE
    if not stops or not abs(speed) > config.arbitration.standstill_speed:
        return Delivery()
    reach = nanoseconds(WINDOW + config.timing.actuation_delay) + 2 * nanoseconds(config.timing.period)
    asked = (*(a for a in delivery.asked if t - a[0] <= reach), (t, abs(speed), acceleration))
    missing, allowed = _missing(asked, t, config)
    if not missing > allowed:
        return replace(delivery, asked=asked, short=None, missing=missing)
    short = delivery.short if delivery.short is not None else t
    if t - short < nanoseconds(SHORT_TIME):
        return replace(delivery, asked=asked, short=short, missing=missing)
    # The stronger stop gets as long to show its effect.
    return Delivery(asked, t, missing, STRONGER.get(mode, Mode.EMERGENCY_STOP))


def findings(delivery: Delivery) -> tuple[Finding, ...]:
    """Return the finding of a brake that gives less than it is asked for."""
    if not delivery.violated:
        return ()
    text = f"brakes give {delivery.missing:.1f} m/s^2 less than demanded, the model of the fallback is violated"
    return (Finding(Code.BRAKE_SHORTFALL, "brakes", text),)


def _missing(asked: tuple[tuple[int, float, float], ...], t: int, config: Config) -> tuple[float, float]:
    """Return the missing deceleration and how much may be missing [m/s^2]; 0 as long as it cannot be told."""
    delay, begin = nanoseconds(config.timing.actuation_delay), t - nanoseconds(WINDOW)
    if not asked or asked[0][0] > begin - delay:
        return 0.0, 0.0
    then = next(a for a in asked if a[0] >= begin)
    wanted = 0.0
    ends = (*(a[0] for a in asked[1:]), t)
    for (since, _, acceleration), until in zip(asked, ends, strict=True):
        low, high = max(since + delay, then[0]), min(until + delay, t)
        wanted -= acceleration * seconds(max(high - low, 0))
    span = max(seconds(t - then[0]), 1e-3)
    given = (then[1] - asked[-1][1]) / span
    return wanted / span - given, TOLERANCE + SHARE * wanted / span
