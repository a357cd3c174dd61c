"""Build what a release consists of, in dist/: sdist, wheel, bill of materials, ROS release notes. Publishes nothing.

`python requirements/release.py` builds when the tree is committed, the versions are equal and the changelog says
something; with `--check` it only looks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def versions() -> dict[str, str]:
    """Return the version as each file has it."""
    patterns = {"setup.py": r'version="([^"]+)"', "package.xml": r"<version>([^<]+)</version>",
                "safety_supervisor/__init__.py": r'__version__ = "([^"]+)"'}  # fmt: skip
    return {
        file: match.group(1)
        for file, pattern in patterns.items()
        if (match := re.search(pattern, (ROOT / file).read_text(encoding="utf-8")))
    }


def forthcoming(changelog: str) -> list[str]:
    """Return the entries below *Forthcoming*, as a catkin changelog has them."""
    _, _, after = changelog.partition("\nForthcoming\n-----------\n")
    section = re.split(r"\n[0-9]+\.[0-9]+\.[0-9]+.*\n-+\n", after)[0]
    return [" ".join(entry.split()) for entry in re.split(r"^\* ", section, flags=re.MULTILINE)[1:]]


def problems(tree_status: str, found: dict[str, str], entries: list[str]) -> list[str]:
    """Return what stands against a release, one line each."""
    said = []
    if tree_status.strip():
        said.append(f"uncommitted: {', '.join(line[3:] for line in tree_status.strip().splitlines()[:4])}")
    if len(set(found.values())) != 1:
        said.append("versions differ: " + ", ".join(f"{file} {version}" for file, version in found.items()))
    if not entries:
        said.append("CHANGELOG.rst has nothing under Forthcoming")
    return said


def notes(version: str, entries: list[str]) -> str:
    """Return the release notes and what is left to do by hand, with the tools of ROS."""
    text = [f"# safety_supervisor {version}", "", *(f"- {entry}" for entry in entries), "",
            "## To release it to ROS", "",
            "1. `catkin_generate_changelog` is not needed: entries are written with each change.",
            "2. `catkin_prepare_release --bump patch` renames *Forthcoming*, sets the version, tags.",
            "3. For humble, jazzy and kilted: `bloom-release --rosdistro DISTRO safety_supervisor`.",
            "4. What has no system package everywhere (see `package.xml`) users install by pip (README)."]  # fmt: skip
    return "\n".join(text) + "\n"


def main() -> int:
    """Check, build, and write the notes; 1 when something stands against a release."""
    status = subprocess.run(["git", "-C", str(ROOT), "status", "--porcelain", "-uno"], capture_output=True, text=True,
                            check=True).stdout  # fmt: skip
    found, entries = versions(), forthcoming((ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"))
    wrong = problems(status, found, entries)
    print("\n".join(f"not ready: {line}" for line in wrong) or "ready")
    if wrong or "--check" in sys.argv[1:]:
        return int(bool(wrong))
    version = next(iter(found.values()))
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)], check=True)
    sbom = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-file",
            str(DIST / f"safety_supervisor-{version}.cdx.json"), sys.executable]  # fmt: skip
    subprocess.run(sbom, check=True)
    (DIST / f"release-notes-{version}.md").write_text(notes(version, entries), encoding="utf-8")
    print("\n".join(sorted(path.name for path in DIST.iterdir())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
