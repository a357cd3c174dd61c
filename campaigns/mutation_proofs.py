"""Ask the proofs about mutants: `python campaigns/mutation_proofs.py PATTERN MUTANT...`, in the mutated tree of mutmut.

The claims that match PATTERN (`*`, `ARB-*`) run on the mutated functions, those that speak about the function first.
Prints one JSON line for each mutant: `{"mutant": ..., "killer": claim or null}`. Each mutant has a process of its own,
forked after everything is imported.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import warnings
from fnmatch import fnmatch
from pathlib import Path

SECONDS = 600
"""Longest time for the claims about one mutant; what is not refuted by then is not killed."""
QUERY_MS = 2000
"""Longest time of one query: an undecided claim catches nothing, on to the next one."""


def function_of(mutant: str) -> str:
    """Return the function of a mutant, `_bounds` of `safety_supervisor.core.motion.x__bounds__mutmut_3`."""
    return mutant.rpartition(".")[2].rpartition("__mutmut_")[0].removeprefix("x_")


def killer(mutant: str, pattern: str) -> str | None:
    """Return the claim that is refuted by a mutant, or that does not run on it any more."""
    sys.path.insert(0, str(Path("benchmarks").resolve()))
    import mutants

    from safety_supervisor import vehicle_file
    from safety_supervisor.prove import solvers

    os.environ["MUTANT_UNDER_TEST"] = mutant
    solvers.NLSAT_MS = solvers.DEFAULT_MS = QUERY_MS
    config = vehicle_file.load(vehicle_file.vehicles()["passenger_car"])
    # Under "*" it is a function of margins: enumerations speak about arbitration.
    wanted = mutants.about(enumerations=False) if pattern == "*" else lambda c: fnmatch(c.id, pattern)
    return mutants.killer(function_of(mutant), config, wanted)


def _asked(mutant: str, pattern: str, answer: multiprocessing.SimpleQueue[str | None]) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)  # a mutant may divide by 0
    answer.put(killer(mutant, pattern))


def main(argv: list[str]) -> int:
    """Judge the mutants named."""
    fork = multiprocessing.get_context("fork")
    for mutant in argv[1:]:
        answer = fork.SimpleQueue()
        process = fork.Process(target=_asked, args=(mutant, argv[0], answer))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        by = answer.get() if not answer.empty() else None
        print(json.dumps({"mutant": mutant, "killer": by}), flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MUTANT_UNDER_TEST", "")
    sys.exit(main(sys.argv[1:]))
