"""The suite `commonroad`: recorded traffic, egos as they drove (open loop) and at constant velocity (closed loop)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safety_supervisor.core.config import Config, to_mapping, with_values
from safety_supervisor.scenarios.suites import loop, recorded
from safety_supervisor.scenarios.suites.grids import PERFECT, case_seed
from safety_supervisor.scenarios.suites.kept import kept
from safety_supervisor.scenarios.suites.recorded import REAR_SHARE, Mover
from safety_supervisor.scenarios.suites.suite import Options, Picture, Row, Spec, SuiteError, row

FOLDER, INDEX = "commonroad", "index.json"
CONSTANT, DRIVEN = "constant velocity", "as driven"
OUTSIDE, UNDRIVABLE = f"{FOLDER}_outside_envelope", f"{FOLDER}_not_drivable"
"""Sources beside `FOLDER`: egos that did not keep the worst-case margin, or whose motion is no plan for a vehicle."""
SELF_TEST = 1.0
"""Self-test of an ego as driven [s]."""
CALM_TTC = 1.5
"""A file is without incident when no recorded pair comes below this time to collision [s] and no ego hits anything."""
INF = float("inf")


@dataclass(frozen=True, slots=True)
class Listed:
    """One ego of one file."""

    id: int
    file: str
    ego: str
    """`constant`, or the name of the mover that is driven."""


@functools.lru_cache(maxsize=4)
def listed(folder: Path) -> tuple[Listed, ...]:
    """Return every ego of every file of the folder."""
    files = sorted(folder.glob("*.xml"))
    found = [(path.name, ego) for path in files for ego in recorded.egos(recorded.load(path))]
    return tuple(Listed(i, file, ego) for i, (file, ego) in enumerate(found))


def calm(folder: Path) -> frozenset[str]:
    """Return the files without an incident, after the folder's index.json."""
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return frozenset(e["file"] for e in entries if _is_calm(e))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{folder / INDEX} cannot be read: {error}") from None


def _is_calm(entry: Mapping[str, Any]) -> bool:
    hits = [e for e in entry["ego_constant_velocity"] if e["hit"] is not None and e["hit"][0] > 0.0]
    return not hits and (entry["min_ttc_s"] is None or entry["min_ttc_s"] >= CALM_TTC)


def as_driven(config: Config, ego: Mover) -> Config:
    """Return the vehicle with the size of a recorded one; the self-test lasts until tracks are as old as in traffic.

    Where a recording begins everybody appears at once, inside the envelope too, which nobody does on a road.
    """
    front, rear = ego.length * (1 - REAR_SHARE), ego.length * REAR_SHARE
    shift = front - config.vehicle.front
    radars = {n: {**s, "x": s["x"] + shift} for n, s in to_mapping(config)["sensors"].items()}
    values = {"vehicle.front": front, "vehicle.rear": rear, "vehicle.width": ego.width, "sensors": radars,
              "health.self_test_time": SELF_TEST}  # fmt: skip
    return with_values(config, values, f"mover {ego.name}")


def radars_only(config: Config, options: Options, name: str) -> Config:
    """Return the vehicle with its radars alone and ticks as often as the physics of recorded traffic."""
    radars = {n: s for n, s in to_mapping(config)["sensors"].items() if s["kind"] != "ultrasonic"}
    values = {**({} if options.sensed else PERFECT), "sensors": radars, "timing.period": recorded.DT}
    return with_values(config, values, name)


def judged(item: Listed, folder: Path, config: Config, options: Options) -> Row:
    """Judge one recorded ego as it drove; `source` says whether it kept the worst-case margin, `why` what not."""
    scene = recorded.load(folder / item.file)
    vehicle = as_driven(config, next(m for m in scene.movers if m.name == item.ego))
    case, past = recorded.driven(scene, item.ego, item.id, {}, vehicle)
    did = kept(case, past, vehicle)
    source = UNDRIVABLE if did.undrivable else FOLDER if did.inside else OUTSIDE
    told = {"source": source, "file": scene.name, "ego": item.ego, "kind": DRIVEN, "why": did.reason}
    seed = case_seed(options.seed, item.id) if options.sensed else None
    o = loop.run(case, vehicle, seed, past, past=past)
    return row(item.id, told, (False, 0.0), None, o)


def reasons(rows: Sequence[Row]) -> dict[str, str]:
    """Return what each ego as driven did not keep, by file and mover."""
    return {f"{r['file']} {r['ego']}": r["why"] for r in rows if r.get("why")}


EGOS = Picture("ego", "file", ("kind",), "ego", "file")


@dataclass(frozen=True, slots=True)
class TrafficSuite:
    """Recorded and simulated traffic of the CommonRoad collection."""

    name: str = "commonroad"
    title: str = "CommonRoad traffic: egos as driven (open loop) and at constant velocity (braking only)"
    needs: str = FOLDER
    picture: Picture = EGOS
    usual: int | None = None

    def specs(self, options: Options) -> Sequence[Spec]:
        """Return every ego."""
        return [Spec(item.id, item.file) for item in listed(self._folder(options))]

    def configure(self, config: Config, options: Options) -> Config:
        """Return the vehicle; an ego as driven has its recorded size."""
        return radars_only(config, options, self.name)

    def run(self, ids: Sequence[int], config: Config, options: Options) -> list[Row]:
        """Run cases one by one."""
        folder = self._folder(options)
        items = {item.id: item for item in listed(folder)}
        return [self._one(items[i], folder, config, options) for i in ids]

    def extra(self, rows: Sequence[Row], weights: Sequence[float]) -> Mapping[str, Any]:
        """Return the counts of both kinds, of those as driven by source too; `stopped` are egos for which a stop was
        commanded, `why` says what an ego as driven did not keep.
        """
        del weights
        kinds = {kind: [r for r in rows if r["kind"] == kind] for kind in (DRIVEN, CONSTANT)}
        sources = {name: [r for r in kinds[DRIVEN] if r["source"] == name] for name in (FOLDER, OUTSIDE, UNDRIVABLE)}
        return {"kinds": {kind: _counts(some) for kind, some in kinds.items()},
                "driven": {name: _counts(some) for name, some in sources.items()}, "why": reasons(rows)}  # fmt: skip

    def _folder(self, options: Options) -> Path:
        if options.data is None:
            raise SuiteError(f"suite {self.name} needs {self.needs}; name its folder with --data DIR")
        return options.data / self.needs

    def _one(self, item: Listed, folder: Path, config: Config, options: Options) -> Row:
        if item.ego != "constant":
            return judged(item, folder, config, options)
        scene = recorded.load(folder / item.file)
        told = {"source": FOLDER, "file": scene.name, "ego": item.ego, "kind": CONSTANT, "why": ""}
        rear = (config.vehicle.front - config.vehicle.rear) / 2
        case = recorded.constant(scene, item.id, rear, dict(told))
        without, bound = loop.braked(case, config, INF), loop.braked(case, config, 0.0)
        seed = case_seed(options.seed, item.id) if options.sensed else None
        return row(item.id, told, without, bound, loop.run(case, config, seed))


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "cases": len(rows), "stopped": sum(bool(r["stops"]) for r in rows),
        "emergencies": sum("EMERGENCY_STOP" in r["stops"] for r in rows),
        "collisions": sum(r["collision"] for r in rows), "hours": round(sum(r["simulated_s"] for r in rows) / 3600, 4),
    }  # fmt: skip


TRAFFIC = TrafficSuite()
