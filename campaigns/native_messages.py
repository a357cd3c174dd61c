"""Build the message packages that are not on PyPI: `python campaigns/native_messages.py --sources DIR`.

`make native` runs it with the Python of an environment that has requirements/native.txt; it needs cmake and a C++
compiler. Only the messages that this project speaks, and what they are made of, are built, in the environment's own
folders, where rclpy finds them. The sources are cloned into DIR at fixed commits, or used as they are found there
(DIR/<owner>+<name>).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = Path(sys.prefix)
HOST = "https://github.com/"
PLAIN = re.compile(r"bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64)")
"""Types of fields that are no messages."""


@dataclass(frozen=True)
class Package:
    """One message package: where its sources are, and which of its types are wanted."""

    name: str
    repository: str
    commit: str
    folder: str
    types: tuple[str, ...]


AUTOWARE = ("autowarefoundation/autoware_msgs", "7025d8f7df0ead43037d86f8a4ffda8b397d0293")
PACKAGES = (
    Package("tf2_msgs", "ros2/geometry2", "1b005c6556cf350d7670812ef30eefed8443a759", "tf2_msgs", ("TFMessage",)),
    Package("radar_msgs", "ros-perception/radar_msgs", "47d2f26906ef38fa15ada352aea6b5aad547781d", ".",
            ("RadarScan", "RadarTracks")),
    Package("vision_msgs", "ros-perception/vision_msgs", "e77fa2d97d69abaaa546592892d2d5d16cec9977", "vision_msgs",
            ("Detection3DArray",)),
    Package("ackermann_msgs", "ros-drivers/ackermann_msgs", "843a4836ba942038db088e06fe626160c09249f0", ".",
            ("AckermannDriveStamped",)),
    Package("autoware_common_msgs", *AUTOWARE, "autoware_common_msgs", ("ResponseStatus",)),
    Package("autoware_planning_msgs", *AUTOWARE, "autoware_planning_msgs", ("Trajectory",)),
    Package("autoware_vehicle_msgs", *AUTOWARE, "autoware_vehicle_msgs", ("ControlModeReport", "HazardLightsCommand")),
    Package("autoware_control_msgs", *AUTOWARE, "autoware_control_msgs", ("Control",)),
    Package("autoware_perception_msgs", *AUTOWARE, "autoware_perception_msgs", ("PredictedObjects",)),
    Package("autoware_adapi_v1_msgs", "autowarefoundation/autoware_adapi_msgs",
            "35a7aeb97dfbbbc363c49fc032ded0c8ba172e24", "autoware_adapi_v1_msgs", ("MrmState",)),
    Package("tier4_system_msgs", "tier4/tier4_autoware_msgs", "cf6771745c27edd577b836765966cd571dc185a0",
            "tier4_system_msgs", ("MrmBehaviorStatus", "OperateMrm")),
)  # fmt: skip


def main() -> int:
    """Build every package that is not installed yet, each after those that it is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True, help="folder of the cloned repositories")
    parser.add_argument("--build", type=Path, default=Path("build/native"), help="folder for what is made on the way")
    parser.add_argument("--jobs", type=int, default=1, help="compilers at a time")
    options = parser.parse_args()
    relocate()
    for package in PACKAGES:
        if (PREFIX / "share" / package.name / "package.xml").exists():
            print(f"{package.name}: installed")
            continue
        build(package, cloned(package, options.sources), options.build.resolve() / package.name, options.jobs)
        print(f"{package.name}: built", flush=True)
    return 0


def relocate() -> None:
    """Let the wheels' CMake files name this Python's headers in place of those of the machine that built them."""
    import numpy

    lib = sysconfig.get_path("platstdlib")
    places = [(r"[^;\"]*/site-packages/numpy/_core/include", numpy.get_include()),
              (rf"/opt/python/[^;\"]*/include/{Path(lib).name}", sysconfig.get_path("include"))]  # fmt: skip
    for file in (PREFIX / "share").rglob("*.cmake"):
        text = changed = file.read_text()
        for pattern, place in places:
            changed = re.sub(pattern, place, changed)
        if changed != text:
            file.write_text(changed)


def cloned(package: Package, sources: Path) -> Path:
    """Return the folder of the package's sources, cloned when they are not there; packages may share a repository."""
    repository = sources / package.repository.replace("/", "+")
    if not repository.exists():
        url = f"{HOST}{package.repository}.git"
        run("git", "clone", "--quiet", "--no-checkout", url, str(repository))
    folder = repository / package.folder
    if not (folder / "package.xml").exists():
        run("git", "-C", str(repository), "checkout", "--quiet", package.commit, "--", package.folder)
    return folder


def build(package: Package, source: Path, folder: Path, jobs: int) -> None:
    """Generate, compile and install one package."""
    files, needs = closure(package, source)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.parent.name).mkdir(exist_ok=True)
        # As ROS 1 writes it, and one repository still does.
        text = re.sub(r"^Header\b", "std_msgs/Header", file.read_text(), flags=re.MULTILINE)
        (folder / file.parent.name / file.name).write_text(text)
    (folder / "package.xml").write_text(manifest(package.name, needs))
    (folder / "CMakeLists.txt").write_text(cmake(package.name, files, needs))
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    env |= dict.fromkeys(("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"), str(PREFIX))
    env["PATH"] = f"{PREFIX / 'bin'}:{env['PATH']}"
    made = folder / "build"
    run("cmake", "-S", str(folder), "-B", str(made), f"-DCMAKE_INSTALL_PREFIX={PREFIX}", "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}", env=env)  # fmt: skip
    run("cmake", "--build", str(made), f"-j{jobs}", env=env)
    run("cmake", "--install", str(made), env=env)


def closure(package: Package, source: Path) -> tuple[list[Path], list[str]]:
    """Return the interface files that the wanted types are made of, and the other packages that they name."""
    wanted, files, needs = list(package.types), {}, set()
    while wanted:
        name = wanted.pop()
        found = [f for f in (*source.rglob(f"{name}.msg"), *source.rglob(f"{name}.srv")) if f.is_file()]
        if not found:
            raise SystemExit(f"{package.name}: no {name} in {source}")
        files[name] = found[0]
        for other, kind in references(found[0]):
            if other and other != package.name:
                needs.add(other)
            elif kind not in files:
                wanted.append(kind)
    return sorted(files.values()), sorted(needs)


def references(file: Path) -> Iterator[tuple[str, str]]:
    """List the message types of the fields of an interface file, as package, empty for the same one, and name."""
    for line in file.read_text().splitlines():
        kind = re.split(r"[\s\[<]", line.partition("#")[0].strip())[0]
        if kind and kind != "---" and not PLAIN.fullmatch(kind):
            package, _, name = kind.rpartition("/")
            yield ("std_msgs" if kind == "Header" else package.partition("/")[0]), name


def manifest(name: str, needs: list[str]) -> str:
    """Return a package.xml."""
    depends = "".join(f"  <depend>{other}</depend>\n" for other in needs)
    return f"""<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>0.0.0</version>
  <description>The messages of {name} that are spoken here, for tests</description>
  <maintainer email="maintainers@safety-supervisor.invalid">safety_supervisor developers</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
{depends}  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def cmake(name: str, files: list[Path], needs: list[str]) -> str:
    """Return a CMakeLists.txt."""
    found = "\n".join(f"find_package({other} REQUIRED)" for other in needs)
    listed = " ".join(f'"{file.parent.name}/{file.name}"' for file in files)
    depends = f" DEPENDENCIES {' '.join(needs)}" if needs else ""
    return f"""cmake_minimum_required(VERSION 3.14)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
{found}
rosidl_generate_interfaces(${{PROJECT_NAME}} {listed}{depends})
ament_package()
"""


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a command; say what it said only when it fails."""
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
