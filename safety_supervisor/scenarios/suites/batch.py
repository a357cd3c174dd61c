"""Many worlds at once, decided as `supervisor.step` decides each of them.

Worlds in which ego has had the same history are one *group*: their egos are in the same state, their supervisors too,
and only the objects differ. Each tick the objects of all worlds of a group are rated in one call of the functions that
the supervisor itself rates with. What the rest of the tick depends on is then one small key per world (what is
demanded, what a stop must go on with, which speed is allowed), and `step` runs once for each key: worlds of equal keys
get the same decision. So nothing is decided here; a test compares with `step` world by world, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.assessment import Situation, chosen, foreseen, objects_of, rate, rate_present
from safety_supervisor.core.config import Config
from safety_supervisor.core.supervisor import State
from safety_supervisor.core.tracking import TrackerState
from safety_supervisor.core.world import Floats, Inputs, Ints, Mode, Odometry, Tracks, nanoseconds
from safety_supervisor.scenarios.suites import loop
from safety_supervisor.scenarios.suites.case import Case, outline, overlap
from safety_supervisor.scenarios.suites.loop import EPOCH, Blind, Outcome, Over, Tick
from safety_supervisor.scenarios.world import UNIT_CORNERS, place

ROWS = 1500
"""Most worlds that are rated in one call: what bounds the memory."""
WORLD = 1000
"""Track ids of one world are below it."""
Key = tuple[int, int, float, bool, int]
"""What is demanded, what must go on, the speed allowed [m/s], whether braking does harm, and what harms least."""


@dataclass(frozen=True, slots=True)
class History:
    """The ticks of a group, newest first; worlds that part share what they had in common."""

    tick: Tick
    before: History | None


@dataclass(frozen=True, slots=True)
class Group:
    """Worlds whose egos have had the same history."""

    members: Ints
    state: State
    station: float
    speed: float
    acceleration: float
    history: History | None = None


class Batch:
    """Cases with a blind policy and perfect sensors, each physics step a tick, without actuation delay."""

    def __init__(self, cases: Sequence[Case], config: Config, over: Sequence[Over]) -> None:
        self._cases, self._config, self._over = cases, config, over
        self._outlines = [[outline(b.kind) for b in case.bodies] for case in cases]
        self._single = all(len(case.bodies) == 1 and case.bodies[0].solid for case in cases)
        self.outcomes: dict[int, Outcome] = {}
        self.ticks: dict[int, list[Tick]] = {}
        self._before: dict[int, Tracks] = {}
        """What was seen in the tick before, by world."""

    @classmethod
    def fits(cls, cases: Sequence[Case], config: Config) -> bool:
        """Tell whether these cases can be run at once."""
        every = all(round(config.timing.period / c.dt) <= 1 for c in cases)
        return every and config.timing.actuation_delay == 0.0

    def run(self) -> list[Outcome]:
        """Run all cases and return their outcomes in order."""
        groups = self._starts()
        for step in range(max(c.steps for c in self._cases)):
            groups = [following for group in groups for following in self._advance(group, step)]
        for group in groups:
            self._end(group, group.members, max(c.steps for c in self._cases) - 1, {})
        return [self.outcomes[i] for i in range(len(self._cases))]

    def _starts(self) -> list[Group]:
        starts: dict[tuple[float, float, float], list[int]] = {}
        for i, case in enumerate(self._cases):
            starts.setdefault((case.start, case.speed, case.dt), []).append(i)
        state = supervisor.start(self._config)
        return [Group(np.array(m), state, start, speed, 0.0) for (start, speed, _), m in starts.items()]

    # --- one step of one group --------------------------------------------------------------------------------

    def _advance(self, group: Group, step: int) -> Iterator[Group]:
        """Yield the groups that a group becomes; members whose case ends are taken out."""
        left = np.array([step < self._cases[i].steps for i in group.members])
        if not left.all():
            self._end(group, group.members[~left], step - 1, {})
        group = replace(group, members=group.members[left])
        hits = self._hits(group, step)
        over = np.array([i in hits or self._is_over(group, i, step) for i in group.members.tolist()], np.bool_)
        self._end(group, group.members[over], step, hits)
        group = replace(group, members=group.members[~over])
        for start in range(0, len(group.members), ROWS):
            yield from self._ticked(replace(group, members=group.members[start : start + ROWS]), step)

    def _hits(self, group: Group, step: int) -> dict[int, tuple[str, float]]:
        """Return what each member touches, where it touches anything."""
        if not len(group.members):
            return {}
        if not self._single:
            found = {i: loop.contact(self._cases[i], self._config, step, group.station, group.speed)
                     for i in group.members.tolist()}  # fmt: skip
            return {i: hit for i, hit in found.items() if hit[0]}
        rows, half = self._rows(group.members, step)
        x, y, yaw = (float(v) for v in self._cases[0].way.pose(group.station))
        touch = overlap(loop.footprint((x, y, yaw), self._config), place(UNIT_CORNERS * half, rows[:, :3]))
        own = group.speed * np.array([np.cos(yaw), np.sin(yaw)])
        names = [self._cases[i].bodies[0].name for i in group.members]
        hit = np.flatnonzero(touch).tolist()
        return {int(group.members[k]): (names[k], float(np.hypot(*(own - rows[k, 3:])))) for k in hit}

    def _rows(self, members: Ints, step: int) -> tuple[Floats, Floats]:
        """Return pose and velocity (M, 5) of the only body of each member, and half its size (M, 1, 2)."""
        bodies = [self._cases[i].bodies[0] for i in members]
        half = np.array([(b.kind.length / 2, b.kind.width / 2) for b in bodies]).reshape(-1, 1, 2)
        return np.array([b.at(step) for b in bodies]), half

    def _is_over(self, group: Group, i: int, step: int) -> bool:
        case = self._cases[i]
        rests = group.speed <= 0.0 and loop.untouched(case, self._config, group.station, step)
        return rests or self._over[i](step, group.station, group.speed)

    def _end(self, group: Group, members: Ints, step: int, hits: dict[int, tuple[str, float]]) -> None:
        if not len(members):
            return
        ticks, node = [], group.history
        while node is not None:
            ticks.append(node.tick)
            node = node.before
        ticks.reverse()
        for i in members.tolist():
            hit, impact = hits.get(i, ("", 0.0))
            self.ticks[i] = ticks
            self.outcomes[i] = loop.outcome(ticks, hit, impact, step * self._cases[i].dt, group.speed)

    def _ticked(self, group: Group, step: int) -> Iterator[Group]:
        """Decide for all members and move their egos on."""
        case = self._cases[group.members[0]]
        t = EPOCH + nanoseconds(step * case.dt)
        x, y, yaw = (float(v) for v in case.way.pose(group.station))
        ego = Odometry(t, x, y, yaw, group.speed, 0.0)
        time, station, speed = Blind().plan(step * case.dt, group.station, group.speed, group.acceleration)
        plan = loop.planned(case, t, time, station, speed)
        seen = self._seen(group.members, step, ego)
        inputs = Inputs(odometry=(ego,), radar=loop.empty_scans(t, self._config), plans=(plan,))
        alone = len(group.members) == 1  # a group of one is simply stepped
        keys = [(0, 0, 0.0, False, 0)] if alone else self._keys(group.state, inputs, t, seen)
        apart: dict[Key, list[int]] = {}
        for i, key in zip(group.members.tolist(), keys, strict=True):
            apart.setdefault(key, []).append(i)
        rate_planned = float(speed[1] - speed[0]) / float(time[1] - time[0])
        for members in apart.values():
            before = self._before.get(members[0], Tracks())
            ready = loop.believing(replace(group.state, before=before), seen[members[0]], t, self._config)
            state, decision = supervisor.step(ready, inputs, t, self._config)
            asked = loop.demanded(decision, rate_planned)
            tick = Tick(step * case.dt, group.station, group.speed, decision.mode, asked)
            yield self._moved(replace(group, members=np.array(members), state=state), tick, case.dt)
        self._before.update(seen)

    def _moved(self, group: Group, tick: Tick, dt: float) -> Group:
        asked, history = tick.acceleration, History(tick, group.history)
        acceleration = loop.actuated(group.acceleration, asked, dt, self._config)
        speed = max(group.speed + acceleration * dt, 0.0)
        if speed <= 0.0:
            acceleration = max(acceleration, 0.0)
        state = replace(group.state, tracker=TrackerState.empty())
        return Group(group.members, state, group.station + speed * dt, speed, acceleration, history)

    def _seen(self, members: Ints, step: int, ego: Odometry) -> dict[int, Tracks]:
        """Return `loop.perfect_tracks` of each member; of members with a single body each they are made together."""
        if not self._single:
            return {i: loop.perfect_tracks(self._cases[i], self._outlines[i], step, ego, self._config)
                    for i in members.tolist()}  # fmt: skip
        rows, _ = self._rows(members, step)
        count = len(self._outlines[int(members[0])][0])
        local = np.array([self._outlines[i][0] for i in members])
        points = place(local.reshape(-1, 1, 2), np.repeat(rows[:, :3], count, axis=0))[:, 0]
        owner = np.zeros(len(points), np.int64)
        seen = np.zeros(len(points), np.bool_)
        nobody = np.zeros((0, 4, 2))
        for _, sensor in self._config.sensors:
            if sensor.kind != "ultrasonic":
                seen |= loop.in_sight(points, owner, sensor, ego, nobody, np.zeros(0, np.int64))
        shown = seen.reshape(-1, count)
        points = points.reshape(-1, count, 2)
        return {int(i): loop.tracks_of(points[k], rows[k, 3:], shown[k], ego.t, self._config)
                for k, i in enumerate(members.tolist())}  # fmt: skip

    # --- what the decision of each world depends on ------------------------------------------------------------

    def _keys(self, state: State, inputs: Inputs, t: int, seen: dict[int, Tracks]) -> list[Key]:
        ready = loop.believing(state, Tracks(t), t, self._config)
        after, _, ego, trust = supervisor.perceived(ready, inputs, t, self._config)
        assert ego is not None  # odometry is among the inputs
        path, source = supervisor.judged_path(after, ego, trust, self._config)
        situation = supervisor.situated(after, ego, path, source, trust, t, self._config)
        tracks, world = joined(list(seen.values()), t)
        before, _ = joined([self._before.get(i, Tracks()) for i in seen], t - nanoseconds(self._config.timing.period))
        situation = replace(situation, before=before)
        return keys(tracks, world, len(seen), situation, state, self._config)


def joined(parts: Sequence[Tracks], t: int) -> tuple[Tracks, Ints]:
    """Return the tracks of several worlds as one table, with ids of their own, and the world of each row."""
    world = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    names = [f.name for f in fields(Tracks) if f.name != "t"]
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    return Tracks(t, **{**columns, "id": columns["id"] + WORLD * world}), world


def keys(tracks: Tracks, world: Ints, worlds: int, situation: Situation, state: State, config: Config) -> list[Key]:
    """Return the key of each world from the rating of all their objects."""
    objects = objects_of(tracks, (), situation, config)
    first = rate(objects, situation.path, situation, config)
    rated, harmful = foreseen(objects, first, situation, config, world, worlds)
    sustain, cap = np.zeros(worlds, np.int64), np.full(worlds, np.inf)
    beside = None
    if situation.present is not None:
        present = rate_present(objects, situation.present.path(), rated.spared, situation, config)
        beside = present.demand, present.margin
    choice = chosen(objects, rated, beside, situation, config, world, worlds)
    demand = choice.stop
    np.maximum.at(sustain, world, rated.expected.conflict & (rated.level >= Mode.COMFORT_STOP))
    capped = rated.demand == Mode.SPEED_CAP
    np.minimum.at(cap, world[capped], rated.expected.cap[capped])
    arbiter = state.arbiter
    matters = (demand == Mode.SPEED_CAP) | (arbiter.held == Mode.SPEED_CAP) | (arbiter.mode == Mode.SPEED_CAP)
    limit = np.where(matters, cap, np.inf)
    columns = zip(demand, sustain, limit, harmful, choice.least, strict=True)
    return [(int(d), int(s), float(c), bool(h), int(k)) for d, s, c, h, k in columns]
