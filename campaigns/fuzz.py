"""Coverage-guided fuzzing by atheris (libFuzzer): `python campaigns/fuzz.py [TARGET ...] --runs 1000000`.

Each target runs in a process of its own, from seeds that are made anew, without a stored corpus; a crash, a hang of
10 s or growth beyond 1 GiB ends it with the input that did it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evidence import commit, record, stored

HANG = 10
"""Longest time of one input [s]."""
MEMORY = 1024
"""Largest process [MiB]."""


def worker(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["safety_supervisor", "mcap"], enable_loader_override=False):
        from targets import TARGETS

    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], lambda data: target.run(bytes(data)) and None)
    atheris.Fuzz()


def fuzz(name: str, runs: int, seed: int) -> dict[str, Any]:
    """Fuzz one target in a process and return its figures."""
    from targets import TARGETS

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for i, data in enumerate(TARGETS[name].seeds()):
            (corpus / f"seed{i}").write_bytes(data)
        options = [f"-runs={runs}", f"-seed={seed}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}",
                   f"-max_len={TARGETS[name].length}", "-print_final_stats=1", "-verbosity=1",
                   f"-artifact_prefix={folder}/", str(corpus)]  # fmt: skip
        command = [sys.executable, __file__, "--worker", name, *options]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        found = sorted(p.name for p in Path(folder).glob("*-*") if p.is_file())
        inputs = [Path(folder, f).read_bytes().hex() for f in found]
        kept = list(corpus.iterdir())
        size = sum(p.stat().st_size for p in kept)
    figures = {key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    result = {
        "executions": figures.get("number_of_executed_units", 0),
        "executions_per_s": figures.get("average_exec_per_sec", 0),
        "peak_rss_mb": figures.get("peak_rss_mb", 0),
        "crashes": sum(f.startswith("crash") for f in found),
        "hangs": sum(f.startswith(("timeout", "slow")) for f in found),
        "out_of_memory": sum(f.startswith("oom") for f in found),
        "corpus_files": len(kept),
        "corpus_bytes": size,
        "seed": seed,
    }
    if done.returncode:
        result |= {"exit": done.returncode, "inputs": inputs, "last_words": done.stderr.splitlines()[-40:]}
        result["crashes"] = max(result["crashes"], int(not found))
    return result


def totals(before: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Return the section with new results in the place of older ones of the same targets; each has its commit."""
    targets = {**before, **{name: {"commit": commit(), **result} for name, result in results.items()}}
    return {"executions": sum(t["executions"] for t in targets.values()),
            "crashes": sum(t["crashes"] for t in targets.values()), "targets": targets}  # fmt: skip


def main() -> int:
    """Fuzz the targets named, write the figures; 1 after a crash, a hang or growth."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3:])
    from targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--runs", type=int, default=1_000_000, help="executions of each target (default: 1000000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the figures into docs/evidence/campaign.json")
    args = parser.parse_args()
    unknown = set(args.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    results = {}
    for name in args.targets or TARGETS:
        results[name] = fuzz(name, args.runs, args.seed)
        print(name, json.dumps(results[name]), flush=True)
    bad = sum(r["crashes"] + r["hangs"] + r["out_of_memory"] for r in results.values())
    if args.record:
        record("fuzz", totals(stored("fuzz").get("targets", {}), results))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
