"""What is built of the message packages that are not on PyPI: the wanted types, and all that they are made of."""

from __future__ import annotations

import subprocess

import native_messages as native
import pytest

from safety_supervisor import messages


@pytest.fixture
def source(tmp_path):
    (tmp_path / "msg").mkdir()
    (tmp_path / "srv").mkdir()
    (tmp_path / "msg" / "List.msg").write_text(
        "# a list of std_msgs/Nothing\nHeader header\nItem[] items  # other_msgs/Nothing\nstring<=9 name\nuint8 A=1\n"
    )
    (tmp_path / "msg" / "Item.msg").write_text("own_msgs/Shape shape\ngeometry_msgs/Point[<=4] corners\nfloat32[6] c\n")
    (tmp_path / "msg" / "Shape.msg").write_text("builtin_interfaces/Time stamp\nbool known 1\n")
    (tmp_path / "msg" / "Unwanted.msg").write_text("far_msgs/Thing thing\n")
    (tmp_path / "srv" / "Ask.srv").write_text("bool yes\n---\ncommon_msgs/Answer answer\n")
    return tmp_path


def package(*types):
    return native.Package("own_msgs", "nobody/own_msgs", "0" * 40, ".", types)


def test_a_type_brings_what_it_is_made_of_and_nothing_else(source):
    files, needs = native.closure(package("List"), source)
    assert [file.name for file in files] == ["Item.msg", "List.msg", "Shape.msg"]
    assert needs == ["builtin_interfaces", "geometry_msgs", "std_msgs"]
    files, needs = native.closure(package("Ask"), source)
    assert ([file.name for file in files], needs) == (["Ask.srv"], ["common_msgs"])


def test_a_type_that_is_not_there_is_named(source):
    with pytest.raises(SystemExit, match="own_msgs: no Nothing in"):
        native.closure(package("Nothing"), source)


def test_packages_of_one_repository_are_all_cloned(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path / "host" / "nobody" / "two.git")]
    for name in ("one_msgs", "other_msgs"):
        (tmp_path / "host" / "nobody" / "two.git" / name).mkdir(parents=True)
        (tmp_path / "host" / "nobody" / "two.git" / name / "package.xml").write_text("<package/>")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "both"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(native, "HOST", f"{tmp_path / 'host'}/")
    for name in ("one_msgs", "other_msgs"):
        wanted = native.Package(name, "nobody/two", commit, name, ())
        assert (native.cloned(wanted, tmp_path / "src") / "package.xml").is_file()


def test_the_manifest_is_one(source, tmp_path):
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    (tmp_path / "package.xml").write_text(native.manifest("own_msgs", ["std_msgs"]))
    made = catkin_pkg.parse_package(tmp_path)
    assert made.name == "own_msgs"
    assert [d.name for d in made.build_depends] == ["std_msgs"]
    text = native.cmake("own_msgs", native.closure(package("List"), source)[0], ["std_msgs"])
    assert 'rosidl_generate_interfaces(${PROJECT_NAME} "msg/Item.msg" "msg/List.msg" "msg/Shape.msg"' in text


def test_every_message_that_is_spoken_here_and_not_on_pypi_is_built():
    built = {f"{p.name}/{name}" for p in native.PACKAGES for name in p.types}
    on_pypi = {"nav_msgs", "geometry_msgs", "sensor_msgs", "std_msgs", "trajectory_msgs"}
    spoken = {kind for kinds in messages.TYPES.values() for kind in kinds if kind.split("/")[0] not in on_pypi}
    assert spoken - built == {"autoware_perception_msgs/TrackedObjects", "autoware_perception_msgs/DetectedObjects"}
