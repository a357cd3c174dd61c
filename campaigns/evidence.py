"""Where campaigns leave their figures: docs/evidence/campaign.json, one section a campaign, each with its commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "evidence" / "campaign.json"


def commit() -> str:
    """Return the commit of the source tree, marked when files differ from it."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout

    changed = [line for line in git("status", "--porcelain", "-uno").splitlines() if "docs/evidence" not in line]
    return git("rev-parse", "HEAD").strip() + ("-modified" if changed else "")


def stored(section: str) -> dict[str, Any]:
    """Return a section as it stands in the file; empty when there is none."""
    data: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return data.get(section, {})


def record(section: str, figures: dict[str, Any], merge: bool = False) -> None:
    """Replace one section, or, with `merge`, some of its keys, each then with its own commit.

    `commit` at the top is that of the newest section; each section has its own.
    """
    data = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    here = commit()
    if merge:
        figures = {**data.get(section, {}), **{key: {"commit": here, **value} for key, value in figures.items()}}
        figures.pop("commit", None)
    data = {**data, "commit": here, section: {"commit": here, **figures}}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def faults(file: Path) -> dict[str, Any]:
    """Return a matrix of `safety-supervisor campaign faults --json` without its single runs."""
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    data["matrix"] = [{key: value for key, value in row.items() if key != "runs"} for row in data["matrix"]]
    return data


if __name__ == "__main__":  # python campaigns/evidence.py faults FILE
    if len(sys.argv) != 3 or sys.argv[1] != "faults":
        sys.exit("usage: evidence.py faults FILE")
    record("faults", faults(Path(sys.argv[2])))
