"""Every input times every fault over a stratified set of scenarios, judged against the run without the fault.

A cell holds when no run collides that does not collide without the fault, or the exception is listed with its reason;
and when no tick is NOMINAL later after the begin of the fault than the time that is stated for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from safety_supervisor.campaign import stated
from safety_supervisor.campaign.faults import FAULTS, INAPPLICABLE, NAMES
from safety_supervisor.campaign.readings import channels
from safety_supervisor.campaign.tamper import CLOCK, Faulty
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Mode, seconds
from safety_supervisor.scenarios.run import EPOCH, Run, run
from safety_supervisor.scenarios.suite import SUITE, Scenario


@dataclass(frozen=True, slots=True)
class Situation:
    """A scenario, and when its fault begins: long before the hazard counts, or shortly before the first reaction."""

    stratum: str
    scenario: str
    before: float | None
    """So long before the first stop of the run without fault [s]; None: `EARLY` after the start."""
    near: bool = False
    """Ultrasonics decide here, not the radar."""


EARLY = 1.0
LEAD = 1.0
QUIET = 3.0
"""Where nothing happens, the fault begins after this [s]."""
LONGEST = 16.0
"""No run is longer [s]."""

SITUATIONS = (
    Situation("nothing to brake for", "free-drive", None),
    Situation("standing object, fault while it comes near", "stopped-vehicle", LEAD),
    Situation("standing object, fault long before", "stopped-vehicle", None),
    Situation("lateral hazard", "cut-in", LEAD),
    Situation("braking object, fault while it is followed", "hard-braking-lead", None),
    Situation("braking object, fault as it brakes", "hard-braking-lead", LEAD),
    Situation("vulnerable road user", "crossing-pedestrian", LEAD),
    Situation("wall in the near field", "parking-bay", LEAD, near=True),
    Situation("body in the near field", "parking-car", LEAD, near=True),
)
SEED = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One input and one fault."""

    source: str
    family: str
    fault: str

    @property
    def name(self) -> str:
        return f"{self.source}:{self.fault}"


@dataclass(frozen=True, slots=True)
class Observed:
    """What one run of a cell showed; times in seconds after the begin of the fault."""

    stratum: str
    scenario: str
    begin: float
    collision: bool
    collision_without: bool
    detected: float | None
    """First tick that names the input, or leaves NOMINAL, which the run without the fault does not do then."""
    finding: str
    reaction: str
    """Strongest mode after the begin."""
    nominal_last: float | None
    """Last tick in NOMINAL."""
    stated: float | None
    adopts: bool
    """Once noticed, the fault may end in NOMINAL again."""
    ticks: int

    @property
    def collides(self) -> bool:
        """The fault makes a collision that is avoided without it."""
        return self.collision and not self.collision_without

    @property
    def nominal_too_long(self) -> bool:
        """NOMINAL later than stated; an adopted fault must only have been noticed in time."""
        if self.stated is None or self.nominal_last is None or self.nominal_last <= self.stated:
            return False
        return not self.adopts or self.detected is None or self.detected > self.stated


def cells(config: Config) -> list[Cell]:
    """Return every input times every fault of the vehicle, those that do not apply included."""
    inputs = [(c.name, c.family) for c in channels(config)] + [(CLOCK, CLOCK)]
    return [Cell(name, family, fault) for name, family in inputs for fault in NAMES]


def inapplicable(cell: Cell) -> str | None:
    """Return why a fault cannot happen to an input, None when it can."""
    return INAPPLICABLE.get((cell.family, cell.fault))


def situations(cell: Cell) -> list[Situation]:
    """Return where a cell is tried: sensors where they see something, everything else everywhere."""
    if cell.family == "ultrasonic":
        return [s for s in SITUATIONS if s.near or s.scenario == "free-drive"]
    return [s for s in SITUATIONS if not (cell.family == "radar" and s.near)]


def observe(cell: Cell, situation: Situation, config: Config, seed: int = SEED) -> Observed:
    """Run one situation with the fault and compare it with the run without."""
    scenario = _scenario(situation.scenario)
    free, ticked = _free(situation.scenario, config, seed)
    begin = _begin(situation, free, ticked)
    fault = next(f for f in FAULTS if f.name == cell.fault)
    tamper = Faulty(scenario.configure(config), cell.source, fault, begin, seed)
    faulty = run(scenario, config, seed, True, tamper)
    since = [(seconds(t - EPOCH) - begin, d) for t, d in zip(tamper.ticked, faulty.decisions, strict=True)]
    after = [(t, d) for t, d in since if t >= 0.0]
    usual = {t: d.mode for t, d in zip(ticked, free.decisions, strict=True)}
    found = _detected(cell, after, {seconds(t - EPOCH) - begin: mode for t, mode in usual.items()})
    nominal = [t for t, d in after if d.mode == Mode.NOMINAL and t <= fault.span]
    strongest = max((d.mode for _, d in after), key=_rank, default=Mode.INIT)
    return Observed(
        situation.stratum, situation.scenario, round(begin, 2), faulty.outcome.collision, free.outcome.collision,
        None if found is None else round(found[0], 3), "" if found is None else found[1], strongest.name,
        round(nominal[-1], 3) if nominal else None, stated.time(cell.family, fault.name, scenario, config),
        (cell.family, cell.fault) in stated.ADOPTS, len(after),
    )  # fmt: skip


def _rank(mode: Mode) -> int:
    """Standing is the end of every stop: the stop is what tells."""
    return 0 if mode == Mode.STANDSTILL else int(mode)


@lru_cache(maxsize=32)
def _free(name: str, config: Config, seed: int) -> tuple[Run, tuple[int, ...]]:
    scenario = _scenario(name)
    tamper = Faulty(scenario.configure(config), "", None, 0.0, seed)
    return run(scenario, config, seed, True, tamper), tuple(tamper.ticked)


def _scenario(name: str) -> Scenario:
    scenario = SUITE[name]
    return replace(scenario, duration=min(scenario.duration, LONGEST))


def _begin(situation: Situation, free: Run, ticked: tuple[int, ...]) -> float:
    """When the fault begins [s after the start]."""
    stops = (seconds(t - EPOCH) for t, d in zip(ticked, free.decisions, strict=True) if d.mode.brakes)
    first = next(stops, None)
    if first is None:
        return QUIET
    return EARLY if situation.before is None else max(first - situation.before, EARLY / 2)


def _detected(
    cell: Cell, after: list[tuple[float, Decision]], usual: dict[float, Mode]
) -> tuple[float, str] | None:
    """First tick that names the input; or that is stricter than without the fault."""
    for t, d in after:
        named = [f.code.value for f in d.health.findings if f.source == cell.source]
        if named:
            return t, named[0]
        before = usual.get(t)
        if before is not None and _rank(d.mode) > _rank(before) and d.mode != Mode.INIT:
            return t, d.reasons[0].code.value if d.reasons else d.mode.name
    return None
