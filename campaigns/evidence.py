"""Where campaigns leave their figures: docs/evidence/campaign.json, one section a campaign, each with its commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.campaign import matrix, table

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "evidence" / "campaign.json"


def commit(tree: Path = ROOT) -> str:
    """Return the commit of a source tree, marked when files differ from it."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(tree), *words], capture_output=True, text=True, check=True).stdout

    changed = [line for line in git("status", "--porcelain", "-uno").splitlines() if "docs/evidence" not in line]
    return git("rev-parse", "HEAD").strip() + ("-modified" if changed else "")


def stored(section: str) -> dict[str, Any]:
    """Return a section as it stands in the file; empty when there is none."""
    data: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return data.get(section, {})


def record(section: str, figures: dict[str, Any], merge: bool = False, tree: Path = ROOT) -> None:
    """Replace one section, or, with `merge`, some of its keys, each then with its own commit.

    `commit` at the top is that of the newest section; each section has its own, that of the tree it was made in.
    """
    data = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    here = commit(tree)
    if merge:
        figures = {**data.get(section, {}), **{key: {"commit": here, **value} for key, value in figures.items()}}
        figures.pop("commit", None)
    data = {**data, "commit": here, section: {"commit": here, **figures}}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def faults(*files: Path) -> dict[str, Any]:
    """Return what `safety-supervisor campaign faults --json` wrote, without its single runs: one file, or parts of one
    matrix of the same code and vehicle. Of each cell the part with most runs counts; `runs_of` is the whole matrix.
    """
    parts: list[dict[str, Any]] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if len({(part["config"], part["seed"]) for part in parts}) > 1:
        raise SystemExit("evidence.py: the parts are not of one vehicle and seed")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in (row for part in parts for row in part["matrix"]):
        cell = row["input"], row["fault"]
        if cell not in rows or len(row.get("runs", ())) > len(rows[cell].get("runs", ())):
            rows[cell] = row
    figures = {**parts[0], **table.summary(list(rows.values())), "runs_of": whole()}
    figures["matrix"] = [{key: value for key, value in row.items() if key != "runs"} for row in rows.values()]
    return figures


def whole() -> int:
    """Return how many runs the whole matrix of the passenger car has."""
    config = vehicle_file.load(vehicle_file.vehicles()["passenger_car"])
    return sum(len(matrix.situations(c)) for c in matrix.cells(config) if matrix.inapplicable(c) is None)


if __name__ == "__main__":  # python campaigns/evidence.py faults FILE...
    if len(sys.argv) < 3 or sys.argv[1] != "faults":
        sys.exit("usage: evidence.py faults FILE...")
    made = [Path(name).resolve() for name in sys.argv[2:]]
    record("faults", faults(*made), tree=made[0].parent)
