"""Ask for a changelog line: compare HEAD with a base (default: main), fail when users could notice and nobody says so.

    python requirements/changelog.py [BASE]

What users notice: the package, launch files, vehicle files, claims, and what is installed. A change that they cannot
notice says `[no changelog]` in one of its commit messages.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VISIBLE = re.compile(r"^(safety_supervisor|launch|config|proofs)/|^(setup\.py|package\.xml)$")
UNSEEN = re.compile(r"\.certificate\.json$|^proofs/(LEDGER\.md|witnesses/)")
WAIVER = "[no changelog]"


def missing(files: list[str], messages: str) -> list[str]:
    """Return the files whose change needs a line in the changelog that is not there."""
    if "CHANGELOG.rst" in files or WAIVER in messages:
        return []
    return [file for file in files if VISIBLE.search(file) and not UNSEEN.search(file)]


def main() -> int:
    """1 when a line is missing."""
    base = sys.argv[1] if len(sys.argv) > 1 else "main"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout

    found = missing(git("diff", "--name-only", f"{base}...HEAD").split(), git("log", "--format=%B", f"{base}..HEAD"))
    if found:
        print(f"CHANGELOG.rst has no new line, but users may notice {', '.join(found[:5])}; or say {WAIVER}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
