"""Vehicle files and certificates on disk: what loads, what is refused with which line, what proves what."""

from __future__ import annotations

import json

import pytest
from builders import RADAR, ULTRASONIC

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config, ConfigError, with_values
from safety_supervisor.core.world import Severity
from safety_supervisor.vehicle_file import parse, to_text, unwrap, vehicles

FULL = Config(sensors=(("front", RADAR), ("us", ULTRASONIC)))
PROVED = [{"claim": "LON-1", "result": "PROVED"}]
PLAIN = "vehicle:\n  mass: 1700\n"
WRAPPED = "/**:\n  ros__parameters:\n    use_sim_time: true\n    vehicle:\n      mass: 1700\n"


@pytest.fixture
def car(tmp_path):
    path = tmp_path / "car.yaml"
    path.write_text(to_text(FULL), encoding="utf-8")
    return path


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_shipped_files_load_and_differ():
    shipped = vehicles()
    assert {"passenger_car", "delivery_van"} <= set(shipped)
    configs = {name: vehicle_file.load(path) for name, path in shipped.items()}
    assert len({config.digest for config in configs.values()}) == len(configs)
    for name, config in configs.items():
        assert config.vehicle.name == name
        assert config.sensors_of("radar")
        assert config.sensors_of("ultrasonic")


def test_plain_groups_and_a_ros_parameter_file_are_the_same():
    assert parse(PLAIN, "a") == parse(WRAPPED, "b")
    assert parse(PLAIN, "a").vehicle.mass == 1700.0
    assert parse(PLAIN.replace("1700", "1701"), "a") != parse(PLAIN, "a")


def test_the_node_name_does_not_matter():
    assert parse(WRAPPED.replace("/**", "safety_supervisor"), "a") == parse(PLAIN, "a")


def test_only_the_parameters_that_every_node_has_are_passed_over():
    assert unwrap({"use_sim_time": True, "vehicle": {}}, "a") == {"vehicle": {}}
    with pytest.raises(ConfigError, match="use_simtime"):
        parse(WRAPPED.replace("use_sim_time", "use_simtime"), "a.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vehicle:\n  mass: 1700\n  mass: 1800\n", "line 3: key 'mass' stands twice"),
        ("vehicle: {}\nvehicle: {}\n", "line 2: key 'vehicle' stands twice"),
        ("vehicle:\n  mass: [1\n", "not valid YAML"),
        ("vehicle:\n\tmass: 1\n", "line 2: not valid YAML"),
        ("vehicle: a: b\n", "line 1: not valid YAML"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a name"),
        ("vehicle: !!python/object:os.system x\n", "line 1: not valid YAML"),
        ("vehicle: 2001-99-99\n", "not valid YAML"),
        ("vehicle: !!int abc\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("vehicle: \x00\n", "special characters are not allowed"),
        ("", "the file has none"),
        ("# only a comment\n", "the file has none"),
        ("null\n", "the file has none"),
        ("- vehicle\n", "the file has none"),
        ("just text\n", "the file has none"),
        ("/**:\n  ros__parameters: {}\nother:\n  ros__parameters: {}\n", "expected those of one node"),
        ("/**:\n  ros__parameters: 3\n", "ros__parameters must be a mapping"),
        ("/**:\n  ros__parameters:\n", "ros__parameters must be a mapping"),
        ("vehicle: {mass: .nan}\n", "vehicle.mass = nan is outside [1, 60000] kg"),
        ("vehicle: {mass: 1" + "0" * 400 + "}\n", "vehicle.mass = inf is outside"),
        ("vehicle: {mass: '1700'}\n", "vehicle.mass = '1700' must be float"),
        ("vehicle: 3\n", "vehicle = 3 must be a mapping"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_it(text, told):
    with pytest.raises(ConfigError) as error:
        parse(text, "broken.yaml")
    assert str(error.value).startswith("broken.yaml: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_group_means_the_defaults():
    assert parse("vehicle:\nsensors:\n", "a") == Config()


def test_a_directory_and_a_missing_file_are_errors_of_the_file_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        vehicle_file.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        vehicle_file.load(tmp_path / "none.yaml")


def test_a_binary_file_is_refused_by_name(tmp_path):
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match=r"image\.yaml: not a text file"):
        vehicle_file.load(path)


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ros", [True, False])
def test_what_is_written_is_read_back(ros):
    values = {"vehicle.mass": 1700.5, "corridor.curvature_sigma": 1e-6, "inputs.plan_expected": False}
    changed = with_values(FULL, values)
    assert parse(to_text(changed, ros), "a") == changed


@pytest.mark.parametrize(
    "name", ["", "#1", "a: b", "a # b", "'", '"', "yes", "1", "é", "two\nlines", "x y " * 600, "\t"]
)
def test_any_name_survives_being_written(name):
    named = with_values(FULL, {"vehicle.name": name})
    assert parse(to_text(named), "a").vehicle.name == name


def test_sensor_names_that_look_like_yaml_survive_being_written():
    odd = Config(sensors=tuple((name, RADAR) for name in ("a:b", "yes", "1", "x y", "#")))
    assert parse(to_text(odd), "a") == odd


def test_every_parameter_is_written_with_its_range_and_reason():
    lines = to_text(FULL).splitlines()
    values = [line for line in lines if ": " in line.split("#")[0].rstrip() + " " and not line.rstrip().endswith(":")]
    assert len(values) > 100
    assert all("#" in line and ";" in line for line in values)
    assert any(line.strip().startswith("mass: 1650.0  # [1, 60000] kg; kerb mass") for line in lines)
    assert any("range_max: 200.0  # [0.5, 500] m" in line for line in lines)


# --- certificates ---------------------------------------------------------------------------------------------------


def certify(path, results=PROVED):
    return vehicle_file.write_certificate(
        vehicle_file.certificate_path(path), vehicle_file.load(path), results, {"z3": "4"})


def edited(path, **changes):
    beside = vehicle_file.certificate_path(path)
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **changes}))
    return vehicle_file.load(path).certificate


def test_without_a_certificate_a_vehicle_is_not_proved(car):
    assert vehicle_file.load(car).certificate is None


def test_a_matching_certificate_is_bound_to_the_config(car):
    digest = certify(car)
    loaded = vehicle_file.load(car)
    assert loaded.certificate == digest
    assert len(digest) == 64
    assert loaded.digest == FULL.digest


def test_other_parameters_are_not_proved_by_it(car):
    certify(car)
    car.write_text(to_text(with_values(FULL, {"vehicle.mass": 1700.0})))
    assert vehicle_file.load(car).certificate is None


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": "0" * 64}, {"core": "0" * 64}, {"claims": "0" * 64}, {"schema": 99}, {"results": []},
        {"results": None}, {"results": "PROVED"}, {"results": {"result": "PROVED"}}, {"results": [{"claim": "LON-1"}]},
        {"results": [*PROVED, {"claim": "LON-2", "result": "UNKNOWN"}]}, {"results": [3]},
    ],
)  # fmt: skip
def test_a_certificate_of_something_else_proves_nothing(car, changes):
    certify(car)
    assert edited(car, solvers={"z3": "4"}) is not None
    assert edited(car, **changes) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "\x00", '{"results": []}'])
def test_a_damaged_certificate_proves_nothing_and_breaks_nothing(car, text):
    vehicle_file.certificate_path(car).write_text(text)
    assert vehicle_file.load(car).certificate is None


def test_a_certificate_that_is_binary_or_a_directory_proves_nothing(car):
    beside = vehicle_file.certificate_path(car)
    beside.write_bytes(b"\xff\xfe\x00")
    assert vehicle_file.load(car).certificate is None
    beside.unlink()
    beside.mkdir()
    assert vehicle_file.load(car).certificate is None


def test_a_changed_text_in_a_certificate_changes_its_hash(car):
    digest = certify(car)
    assert edited(car, solvers={"z3": "5"}) not in (None, digest)


@pytest.mark.parametrize("results", [[], [{"claim": "A", "result": "REFUTED"}], [*PROVED, {"claim": "B"}]])
def test_no_certificate_is_written_unless_all_is_proved(car, results):
    with pytest.raises(ValueError, match="no certificate"):
        certify(car, results)
    assert not vehicle_file.certificate_path(car).exists()


def copied_core(tmp_path, monkeypatch, change):
    folder = tmp_path / "core"
    folder.mkdir(exist_ok=True)
    (folder / "a.py").write_text(change)
    monkeypatch.setattr(vehicle_file, "PACKAGE", tmp_path)
    return vehicle_file.core_digest()


def test_comments_docstrings_and_layout_do_not_change_the_digest_of_the_core_but_code_does(tmp_path, monkeypatch):
    plain = copied_core(tmp_path, monkeypatch, "def f(x):\n    return x + 1\n")
    told = '"""What."""\n\ndef f(x):\n    """Why."""\n\n    return (x +\n 1)  # so\n'
    assert plain == copied_core(tmp_path, monkeypatch, told)
    for other in ("def f(x):\n    return x + 2\n", "def f(x):\n    return x - 1\n", "def g(x):\n    return x + 1\n"):
        assert plain != copied_core(tmp_path, monkeypatch, other)
    (tmp_path / "core" / "b.py").write_text("")
    assert plain != copied_core(tmp_path, monkeypatch, "def f(x):\n    return x + 1\n")


def test_the_digest_of_the_core_is_the_same_twice():
    assert vehicle_file.core_digest() == vehicle_file.core_digest()
    assert Severity.OK == 0  # the core that is hashed is the one imported here


def test_missing_data_is_named(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="nonsense folder is not installed"):
        vehicle_file.share_dir("nonsense")
    share = tmp_path / "share" / "safety_supervisor" / "nonsense"
    share.mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert vehicle_file.share_dir("nonsense") == share


SHIPPED = [*vehicle_file.vehicles().values(), *sorted((vehicle_file.share_dir("config") / "examples").glob("*.yaml"))]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_vehicle_has_a_certificate_for_its_parameters_this_core_and_these_claims(file):
    """Red after a change of the core, of a vehicle file or of a claim: run `make certificates`."""
    assert vehicle_file.load(file).certificate is not None
