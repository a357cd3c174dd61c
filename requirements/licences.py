"""Check the licence of everything that an installation brings along: `python requirements/licences.py`.

Runtime dependencies (transitively, no extras) are redistributed with a vehicle; what only tests and builds use is not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|PSF|Python Software Foundation|ISC|MPL-2\.0|Mozilla Public License 2\.0|HPND|Unlicense|"
    r"Zlib|CC0|NCSA|BSL-1\.0)\b",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(r"(?<!L)\bA?GPL", re.IGNORECASE)
KNOWN = {"apsw": "any OSI-approved licence: taken under MIT"}
"""Package -> licence, where the metadata says nothing; each read from the package's own LICENSE file."""


def closure(name: str = "safety_supervisor") -> set[str]:
    """Return the names of all runtime dependencies of an installed package."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for requirement in _requirements(waiting.pop()):
            if requirement not in found:
                found.add(requirement)
                waiting.append(requirement)
    return found


def _requirements(name: str) -> Iterator[str]:
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield re.sub(r"[-_.]+", "-", requirement.name).lower()


def licences(names: set[str]) -> dict[str, str]:
    """Return package -> licence as pip-licenses finds it."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--packages", *sorted(names)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {re.sub(r"[-_.]+", "-", row["Name"]).lower(): row["License"] for row in json.loads(said)}


def problems(found: dict[str, str]) -> list[str]:
    """Return a line for each licence that is not known to be fine beside Apache-2.0."""
    lines = []
    for name, licence in sorted(found.items()):
        said = KNOWN.get(name, licence)
        if FORBIDDEN.search(said) and not ALLOWED.search(said):
            lines.append(f"{name}: {said}")
        elif not ALLOWED.search(said):
            lines.append(f"{name}: {said} is not in the list of allowed licences")
    return lines


def main() -> int:
    """Print every runtime dependency with its licence; 1 when one is not allowed."""
    found = licences(closure())
    for name, licence in sorted(found.items()):
        print(f"{name:20} {KNOWN.get(name, licence)}")
    wrong = problems(found)
    print("\n".join(f"not allowed: {line}" for line in wrong) or f"{len(found)} packages, all allowed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
