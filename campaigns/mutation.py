"""Mutation testing by mutmut of the core, module by module; survivors of the proved modules go on to the proofs.

    python campaigns/mutation.py [MODULE ...] [--jobs N] [--record]

Each module is mutated in a clone of the committed tree, against the tests named below; mutmut runs for each mutant
those that reach its function. A mutant is *killed by tests*, *killed by proofs* (`safety-supervisor prove` fails on the
mutated function: soundness, tightness and controls count), or *survives*. Each survivor must stand in `survivors.json`
with the reason why it is equivalent or only more conservative; it is known by module, function and the changed lines,
so that renumbering does not lose it.

    overall_score = killed / mutants
    proved_score  = (killed + explained) / mutants, over envelopes, motion and arbitration
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence import ROOT, record

REASONS = Path(__file__).with_name("survivors.json")
SURVIVED, UNTESTED = 0, 33
"""Exit codes of mutmut for a mutant that no test noticed, and for one that no test reaches."""


@dataclass(frozen=True)
class Module:
    """A module or folder of core/, the tests that are to kill its mutants, and whether proofs speak about it."""

    path: str
    tests: tuple[str, ...]
    claims: tuple[str, ...] = ()
    """Claims that call its functions (patterns of `prove --only`); empty: no proof speaks about it."""


MODULES = {
    "envelopes": Module("envelopes.py", ("test_envelopes.py", "test_assessment.py"), ("*",)),
    "motion": Module("motion.py", ("test_motion.py", "test_envelopes.py"), ("*",)),
    "geometry": Module("geometry.py", ("test_geometry.py", "test_assessment.py")),
    "assessment": Module("assessment", ("test_assessment*.py", "test_supervisor.py")),
    "fallback": Module("fallback.py", ("test_fallback.py", "test_supervisor.py")),
    "health": Module("health.py", ("test_health.py", "test_supervisor.py")),
    "arbitration": Module("arbitration.py", ("test_arbitration.py",), ("ARB-*",)),
    "tracking": Module("tracking", ("test_tracking_*.py",)),
}
PROVED = ("envelopes", "motion", "arbitration")
SKIPPED_TESTS = ("test_tracking_benchmark.py", "test_tracking_identity.py")
"""Whole scenes: minutes for each mutant."""
COPIED = ("safety_supervisor", "config", "proofs", "launch", "docs", "benchmarks", "campaigns", "requirements",
          "README.md", "Makefile", "package.xml", "CHANGELOG.rst", "LICENSE")  # fmt: skip


def prepared(name: str) -> Path:
    """Return a clone of the committed tree, configured for one module."""
    module, folder = MODULES[name], ROOT / "build" / "mutation" / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    core = folder / "safety_supervisor" / "core"
    sources = sorted(str(p.relative_to(folder)) for p in core.glob(module.path))
    tests = sorted({str(p.relative_to(folder)) for t in module.tests for p in (folder / "test").glob(t)
                    if p.name not in SKIPPED_TESTS})  # fmt: skip
    lines = ["", "[tool.mutmut]", f"source_paths = {json.dumps(sources)}",
             f"also_copy = {json.dumps([c for c in COPIED if (folder / c).exists()])}",
             f"pytest_add_cli_args_test_selection = {json.dumps(tests)}",
             'pytest_add_cli_args = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist"]']  # fmt: skip
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return folder


def mutated(folder: Path, jobs: int) -> dict[str, int]:
    """Run mutmut; return mutant -> exit code of its tests (0: survived)."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    codes: dict[str, int] = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        codes |= json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    missing = [key for key, code in codes.items() if code is None]
    if not codes or missing:
        raise SystemExit(f"mutmut did not finish in {folder} ({len(missing)} of {len(codes)} mutants not run): "
                         + done.stdout[-2000:] + done.stderr[-2000:])  # fmt: skip
    return codes


def difference(folder: Path, mutant: str) -> str:
    """Return the changed lines of a mutant, without context."""
    said = subprocess.run([sys.executable, "-m", "mutmut", "show", mutant], cwd=folder, capture_output=True, text=True)
    changed = [line for line in said.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(" ".join(line.split()) for line in changed)


def key(mutant: str, changed: str) -> str:
    """Return what a survivor is known by."""
    function = mutant.rpartition("__mutmut_")[0].removeprefix("safety_supervisor.core.")
    return f"{function}:{hashlib.sha256(changed.encode()).hexdigest()[:12]}"


def proofs_kill(folder: Path, mutant: str, claims: tuple[str, ...]) -> bool:
    """Whether proving with the mutated function fails."""
    environment = {**os.environ, "MUTANT_UNDER_TEST": mutant, "PYTHONPATH": str(folder / "mutants")}
    only = [word for claim in claims for word in ("--only", claim)]
    command = [sys.executable, "-m", "safety_supervisor", "prove", *only]
    done = subprocess.run(command, cwd=folder / "mutants", env=environment, capture_output=True, timeout=1800)
    return done.returncode != 0


def campaign(name: str, jobs: int) -> dict[str, Any]:
    """Mutate one module and return its figures."""
    folder, module = prepared(name), MODULES[name]
    codes = mutated(folder, jobs)
    left = [mutant for mutant, code in codes.items() if code in (SURVIVED, UNTESTED)]
    by_proofs, survivors = 0, []
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    for mutant in left:
        if module.claims and proofs_kill(folder, mutant, module.claims):
            by_proofs += 1
            continue
        changed = difference(folder, mutant)
        known = key(mutant, changed)
        survivors.append({"key": known, "change": changed, "reason": reasons.get(known)})
    explained = sum(s["reason"] is not None for s in survivors)
    killed = len(codes) - len(survivors)
    return {"mutants": len(codes), "killed_by_tests": len(codes) - len(left), "killed_by_proofs": by_proofs,
            "survivors": survivors, "explained": explained, "score": round(killed / len(codes), 4)}  # fmt: skip


def scores(modules: dict[str, Any]) -> dict[str, Any]:
    """Return the scores over modules; None for one whose modules were not all run."""
    def total(names: tuple[str, ...], explained: bool) -> float | None:
        if not set(names) <= set(modules):
            return None
        chosen = [modules[name] for name in names]
        good = sum(m["mutants"] - len(m["survivors"]) + (m["explained"] if explained else 0) for m in chosen)
        return float(round(good / sum(m["mutants"] for m in chosen), 4))

    return {
        "overall_score": total(tuple(modules), False),
        "proved_score": total(PROVED, True),
        "modules_run": sorted(modules),
        "modules_missing": sorted(set(MODULES) - set(modules)),
        "unexplained": sum(len(m["survivors"]) - m["explained"] for m in modules.values()),
    }


def main() -> int:
    """Mutate the modules named; 1 when a survivor has no reason."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"default: all of {', '.join(MODULES)}")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write the figures into docs/evidence/campaign.json")
    args = parser.parse_args()
    unknown = set(args.modules) - set(MODULES)
    if unknown:
        parser.error(f"unknown module {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    modules = {}
    for name in args.modules or MODULES:
        modules[name] = campaign(name, args.jobs)
        print(name, json.dumps({k: v for k, v in modules[name].items() if k != "survivors"}), flush=True)
        for survivor in modules[name]["survivors"]:
            if survivor["reason"] is None:
                print(f"  no reason: {survivor['key']}\n    " + survivor["change"].replace("\n", "\n    "), flush=True)
    figures = scores(modules)
    print(json.dumps(figures))
    if args.record:
        flat = [{"module": name, **s} for name, m in modules.items() for s in m["survivors"]]
        short = {name: {k: v for k, v in m.items() if k != "survivors"} for name, m in modules.items()}
        record("mutation", {**figures, "modules": short, "survivors": flat})
    return int(figures["unexplained"] > 0)


if __name__ == "__main__":
    sys.exit(main())
