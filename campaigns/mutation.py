"""Mutation testing by mutmut of the core, module by module; survivors of the proved modules go on to the proofs.

    python campaigns/mutation.py [MODULE ...] [--jobs N] [--sample N [--seed N]] [--again] [--record]

Each module is mutated in a clone of the committed tree, against the tests named below; mutmut runs for each mutant
those that reach its function. A mutant is *killed by tests*, *killed by proofs* (a claim is refuted by the mutated
function, or does not run on it any more: soundness and tightness count), or *survives*. Each survivor must stand in
`survivors.json` with the reason why it is equivalent or only more conservative; it is known by module, function and
the changed lines, so that renumbering does not lose it.

A run that was stopped goes on where it was, as long as the commit is the same (`build/mutation`); figures of modules
that were run before (`build/mutation-results`) are part of the scores and of what is recorded, each with its commit.

With `--again` only the survivors of the run before meet the tests of the present tree, and the mutants of functions
that have changed since; what was killed stays killed, from the commit that `begun` names. For the loop of writing
tests: it takes seconds where the whole takes minutes.

    overall_score = killed / mutants, over the modules that were run; a sample counts as the whole that it is drawn from
    proved_score  = (killed + explained) / mutants, over envelopes, motion and arbitration
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence import ROOT, commit, record

WORK = ROOT / "build" / "mutation"
RESULTS = ROOT / "build" / "mutation-results"
REASONS = Path(__file__).with_name("survivors.json")
SURVIVED, UNTESTED = 0, 33
"""Exit codes of mutmut for a mutant that no test noticed, and for one that no test reaches."""
NOT_RUN = (None, 2, 4, 5, 34, 35)
"""Its exit codes for one about which nothing is known: interrupted, not collected, left out."""
PYTEST = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]


@dataclass(frozen=True)
class Module:
    """Part of core/, the tests that are to kill its mutants, and whether proofs speak about it."""

    path: str
    """Modules or folders (patterns, apart by spaces)."""
    tests: tuple[str, ...]
    claims: str = ""
    """Claims that call its functions (a pattern of their names); empty: no proof speaks about it."""


MODULES = {
    "envelopes": Module("envelopes.py", ("test_envelopes.py", "test_motion.py", "test_assessment*.py"), "*"),
    "motion": Module("motion.py", ("test_motion.py", "test_envelopes.py", "test_assessment*.py", "test_fallback.py"),
                     "*"),
    "geometry": Module("geometry.py paths.py", ("test_geometry.py", "test_assessment*.py", "test_mounts.py")),
    "assessment": Module("assessment*", ("test_assessment*.py", "test_foresight.py", "test_onset.py",
                                         "test_core_corners.py", "test_manoeuvres.py")),
    "fallback": Module("fallback.py", ("test_fallback.py", "test_core_corners.py", "test_assessment*.py")),
    "health": Module("health.py", ("test_health.py", "test_policy_watch.py", "test_self_test.py")),
    "arbitration": Module("arbitration.py", ("test_arbitration.py", "test_requested.py"), "ARB-*"),
    "tracking": Module("tracking", ("test_tracking_*.py",)),
}  # fmt: skip
PROVED = ("envelopes", "motion", "arbitration")
SKIPPED_TESTS = ("test_tracking_benchmark.py", "test_tracking_identity.py")
"""Whole scenes, minutes for each mutant; drives with the whole tick (test_supervisor.py) are not chosen either."""
COPIED = ("safety_supervisor", "config", "proofs", "launch", "docs", "benchmarks", "campaigns", "requirements",
          "README.md", "Makefile", "package.xml", "CHANGELOG.rst", "LICENSE")  # fmt: skip


def prepared(name: str, again: bool = False) -> Path:
    """Return a clone of the committed tree, configured for one module; one of the same commit is gone on with.

    With `again` the clone of another commit is moved on to this one, and its survivors count as not run.
    """
    module, folder = MODULES[name], WORK / name
    before = (folder / ".commit").read_text() if (folder / ".commit").is_file() else None
    if before == commit() and not again:
        return folder
    if before and again:
        git = ["git", "-C", str(folder)]
        subprocess.run([*git, "fetch", "--quiet", str(ROOT), "HEAD"], check=True)
        subprocess.run([*git, "reset", "--quiet", "--hard", "FETCH_HEAD"], check=True)
        forget_survivors(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        clone = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", str(ROOT), str(folder)]
        subprocess.run(clone, check=True)
        (folder / ".begun").write_text(commit())
    core = folder / "safety_supervisor" / "core"
    sources = sorted(str(p.relative_to(folder)) for pattern in module.path.split() for p in core.glob(pattern))
    tests = sorted({str(p.relative_to(folder)) for t in module.tests for p in (folder / "test").glob(t)
                    if p.name not in SKIPPED_TESTS})  # fmt: skip
    lines = ["", "[tool.mutmut]", f"source_paths = {json.dumps(sources)}",
             f"also_copy = {json.dumps([c for c in COPIED if (folder / c).exists()])}",
             f"pytest_add_cli_args_test_selection = {json.dumps(tests)}",
             f"pytest_add_cli_args = {json.dumps(PYTEST)}"]  # fmt: skip
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    (folder / ".commit").write_text(commit())
    return folder


def forget_survivors(folder: Path) -> None:
    """Make mutmut run again what survived."""
    for file in (folder / "mutants").rglob("*.meta"):
        meta = json.loads(file.read_text(encoding="utf-8"))
        codes = meta["exit_code_by_key"]
        meta["exit_code_by_key"] = {k: None if code in (SURVIVED, UNTESTED) else code for k, code in codes.items()}
        file.write_text(json.dumps(meta, indent=4), encoding="utf-8")


def mutated(folder: Path, jobs: int, sample: int | None = None, seed: int = 1) -> dict[str, int]:
    """Run mutmut on what it has not run yet; return mutant -> exit code of its tests (0: survived).

    With `sample`, that many mutants, the same ones each time for a `seed`.
    """
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)]
    if sample:
        subprocess.run([*command, "no.such.mutant"], cwd=folder, capture_output=True)  # makes the mutants, runs none
        chosen = drawn(folder, sample, seed)
        left = [mutant for mutant in chosen if exit_codes(folder)[mutant] is None]
        command += left or ["no.such.mutant"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    codes = {key: code for key, code in exit_codes(folder).items() if not sample or key in chosen}
    missing = [key for key, code in codes.items() if code in NOT_RUN]
    if not codes or missing:
        raise SystemExit(f"mutmut did not finish in {folder} ({len(missing)} of {len(codes)} mutants not run): "
                         + done.stdout[-2000:] + done.stderr[-2000:])  # fmt: skip
    return codes


def drawn(folder: Path, sample: int, seed: int) -> list[str]:
    """Return a sample of mutants: one that was drawn in this folder before stays, as far as its mutants still exist."""
    every, file = sorted(exit_codes(folder)), folder / f".sample-{sample}-{seed}"
    if not file.is_file():
        file.write_text("\n".join(random.Random(seed).sample(every, min(sample, len(every)))))
    return [mutant for mutant in file.read_text().split() if mutant in every]


def exit_codes(folder: Path) -> dict[str, Any]:
    """Return what mutmut has stored: mutant -> exit code, None where it was not run."""
    codes: dict[str, Any] = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        codes |= json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
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


def proofs_kill(folder: Path, mutants: list[str], claims: str) -> dict[str, str]:
    """Return the mutants that the proofs refute, each with the claim."""
    environment = {**os.environ, "MUTANT_UNDER_TEST": "", "PYTHONPATH": str(folder / "mutants")}
    command = [sys.executable, str(folder / "mutants" / "campaigns" / "mutation_proofs.py"), claims, *mutants]
    done = subprocess.run(command, cwd=folder / "mutants", env=environment, capture_output=True, text=True)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if {line["mutant"] for line in said} != set(mutants):
        raise SystemExit(f"the proofs did not judge every mutant in {folder}: {done.stderr[-2000:]}")
    return {line["mutant"]: line["killer"] for line in said if line["killer"]}


def campaign(name: str, jobs: int, sample: int | None = None, again: bool = False, seed: int = 1) -> dict[str, Any]:
    """Mutate one module and return its figures."""
    folder, module = prepared(name, again), MODULES[name]
    codes = mutated(folder, jobs, sample, seed)
    left = [mutant for mutant, code in codes.items() if code in (SURVIVED, UNTESTED)]
    refuted = proofs_kill(folder, left, module.claims) if module.claims and left else {}
    survivors = [known(folder, mutant) for mutant in left if mutant not in refuted]
    explained = sum(s["reason"] is not None for s in survivors)
    killed = len(codes) - len(survivors)
    # The tree may have moved on since the clone was made.
    judged, begun = (folder / ".commit").read_text(), (folder / ".begun").read_text()
    figures = {"commit": judged, "begun": begun, "mutants": len(codes), "killed_by_tests": len(codes) - len(left),
               "killed_by_proofs": len(refuted), "explained": explained, "score": round(killed / len(codes), 4),
               "survivors": survivors}  # fmt: skip
    stored = RESULTS / f"{name}.json"
    if again and stored.is_file():  # before tests were written for what survived
        earlier = json.loads(stored.read_text(encoding="utf-8"))
        figures["first_score"] = earlier.get("first_score", earlier["score"])
    # Of a sample, `mutants` is its size; it stands for `of`, all mutants of the module.
    return {**figures, "of": len(exit_codes(folder)), "seed": seed} if sample else figures


def known(folder: Path, mutant: str) -> dict[str, Any]:
    """Return a survivor as it is listed, with its reason if it has one."""
    changed = difference(folder, mutant)
    name = key(mutant, changed)
    return {"key": name, "change": changed, "reason": json.loads(REASONS.read_text(encoding="utf-8")).get(name)}


def reasoned(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a module with the reasons as they are written now."""
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    survivors = [{**s, "reason": reasons.get(s["key"])} for s in figures["survivors"]]
    return {**figures, "explained": sum(s["reason"] is not None for s in survivors), "survivors": survivors}


def scores(modules: dict[str, Any]) -> dict[str, Any]:
    """Return the scores over modules; None for one whose modules were not all run."""
    def total(names: tuple[str, ...], explained: bool) -> float | None:
        if not set(names) <= set(modules):
            return None
        chosen = [modules[name] for name in names]
        weights = [m.get("of", m["mutants"]) / m["mutants"] for m in chosen]  # a sample stands for its module
        good = [m["mutants"] - len(m["survivors"]) + (m["explained"] if explained else 0) for m in chosen]
        whole = sum(w * m["mutants"] for w, m in zip(weights, chosen, strict=True))
        return float(round(sum(w * g for w, g in zip(weights, good, strict=True)) / whole, 4))

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
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants of each module, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help="another sample: one that no test was written for tells what the tests are worth")
    parser.add_argument("--again", action="store_true", help="only what survived before, against the present tests")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/evidence/campaign.json")
    args = parser.parse_args()
    unknown = set(args.modules) - set(MODULES)
    if unknown:
        parser.error(f"unknown module {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    for name in args.modules or MODULES:
        figures = campaign(name, args.jobs, args.sample, args.again, args.seed)
        print(name, json.dumps({k: v for k, v in figures.items() if k != "survivors"}), flush=True)
        for survivor in figures["survivors"]:
            if survivor["reason"] is None:
                print(f"  no reason: {survivor['key']}\n    " + survivor["change"].replace("\n", "\n    "), flush=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    modules = {p.stem: reasoned(json.loads(p.read_text(encoding="utf-8"))) for p in sorted(RESULTS.glob("*.json"))}
    figures = scores(modules)
    print(json.dumps(figures))
    if args.record:
        flat = [{"module": name, **s} for name, m in modules.items() for s in m["survivors"]]
        short = {name: {k: v for k, v in m.items() if k != "survivors"} for name, m in modules.items()}
        record("mutation", {**figures, "modules": short, "survivors": flat})
    return int(figures["unexplained"] > 0)


if __name__ == "__main__":
    sys.exit(main())
