"""Parameters: what is refused and how it is named, what changes the digest, and that nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
from builders import CONFIG, RADAR, ULTRASONIC, config
from strategies import every_parameter, other_values

from safety_supervisor.core import config as parameters
from safety_supervisor.core.config import Config, ConfigError, Sensor, from_mapping, to_mapping, with_values

FULL = Config(sensors=(("front", RADAR), ("us", ULTRASONIC)))
EVERY = every_parameter(FULL)
NUMERIC = [
    (key, kind, name) for key, kind, name, value in EVERY if type(value) in (int, float) and "doppler" not in key
]


def limits(kind, name):
    meta = next(f for f in parameters.parameters(kind) if f.name == name).metadata
    return meta["low"], meta["high"]


def refused(key, value):
    with pytest.raises(ConfigError) as error:
        with_values(FULL, {key: value}, "van.yaml")
    return str(error.value)


def test_the_defaults_are_valid_and_equal_to_an_empty_file():
    assert from_mapping({}) == Config()


def test_every_parameter_has_a_reason_and_numbers_have_a_range_around_their_default():
    for key, kind, name, _ in EVERY:
        meta = next(f for f in parameters.parameters(kind) if f.name == name).metadata
        assert meta["why"], key
        if "low" in meta:
            default = getattr(kind(), name)
            assert meta["low"] <= default <= meta["high"], key
            assert meta["low"] < meta["high"], key


@pytest.mark.parametrize(("key", "kind", "name"), NUMERIC, ids=[key for key, _, _ in NUMERIC])
def test_a_number_is_refused_beyond_either_end_and_when_it_is_none(key, kind, name):
    low, high = limits(kind, name)
    beyond = (low - 1, high + 1) if isinstance(getattr(kind(), name), int) else (
        math.nextafter(low, -math.inf), math.nextafter(high, math.inf), math.nan, math.inf, -math.inf)
    for value in beyond:
        text = refused(key, value)
        assert text.startswith("van.yaml: ")
        assert f"{key} = {value}" in text
        assert parameters.describe_range(next(f for f in parameters.parameters(kind) if f.name == name)) in text


@pytest.mark.parametrize(("key", "kind", "name"), NUMERIC, ids=[key for key, _, _ in NUMERIC])
def test_both_ends_of_a_range_belong_to_it(key, kind, name):
    for value in limits(kind, name):
        text = ""
        try:
            with_values(FULL, {key: value})
        except ConfigError as error:  # another parameter may forbid it, the range must not
            text = str(error)
        assert "outside" not in text


@pytest.mark.parametrize("value", [True, "1.8", None, [1.8], {"a": 1}])
def test_a_float_takes_no_other_type(value):
    assert f"vehicle.width = {value!r} must be float, [0.1, 4] m" in refused("vehicle.width", value)


def test_an_integer_is_taken_as_a_float():
    assert with_values(FULL, {"vehicle.width": 2}).vehicle.width == 2.0
    assert type(with_values(FULL, {"vehicle.width": 2}).vehicle.width) is float


def test_an_integer_that_no_float_can_hold_is_out_of_range():
    assert "vehicle.mass" in refused("vehicle.mass", 10**400)
    assert "vehicle.mass" in refused("vehicle.mass", -(10**400))


@pytest.mark.parametrize("value", [1.0, True, "3"])
def test_an_int_takes_no_other_type(value):
    assert f"ultrasonics.confirm = {value!r} must be int" in refused("ultrasonics.confirm", value)


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_a_bool_takes_no_other_type(value):
    assert "inputs.plan_expected" in refused("inputs.plan_expected", value)


def test_a_string_takes_no_number_and_a_choice_names_what_is_allowed():
    assert "vehicle.name = 5 must be str" in refused("vehicle.name", 5)
    assert "sensors.front.kind = 'lidar' must be one of 'radar', 'radar_tracks', 'ultrasonic'" in refused(
        "sensors.front.kind", "lidar")
    assert "sensors.front.doppler_sign" in refused("sensors.front.doppler_sign", 0.5)


@pytest.mark.parametrize(
    ("key", "hint"),
    [("vehicle.widht", "did you mean vehicle.width?"), ("vehicel.width", "did you mean vehicle?"),
     ("sensors.front.rangemax", "did you mean sensors.front.range_max?"),
     ("odd.qqqq", "known: speed_max, friction_min"), ("qqqq", "known: vehicle, odd")],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_a_hint(key, hint):
    text = refused(key, 1.0)
    assert "unknown key" in text
    assert hint in text


def test_a_key_below_a_value_is_unknown():
    assert "unknown key vehicle.mass.x" in refused("vehicle.mass.x", 1.0)


def test_many_strange_keys_are_one_problem_that_names_the_known_ones_once():
    with pytest.raises(ConfigError) as refusal:
        from_mapping({"odd": {}, "wheels": 4, "colour": "red", "vehicel": {}})
    text = str(refusal.value)
    assert "unknown keys wheels, colour; known: vehicle, odd, " in text
    assert "unknown key vehicel, did you mean vehicle?" in text
    assert text.count("known: ") == 1


def test_all_problems_are_named_at_once():
    with pytest.raises(ConfigError) as error:
        from_mapping({"vehicle": {"width": 9.0, "mass": "x"}, "zzz": 1}, "a.yaml")
    assert all(part in str(error.value) for part in ("vehicle.width", "vehicle.mass", "zzz"))


@pytest.mark.parametrize("data", [3, "x", [1], None])
def test_data_that_is_no_mapping_is_refused(data):
    with pytest.raises(ConfigError, match="expected a mapping"):
        from_mapping(data)
    if data is not None:  # an empty group in YAML is None and means the defaults
        for key in ("vehicle", "sensors", "sensors.front"):
            assert "mapping" in refused(key, data)


def test_an_empty_list_or_a_zero_is_no_mapping_of_sensors():
    for nothing in (0, [], False, ""):
        assert "must be a mapping of sensor names" in refused("sensors", nothing)


CROSS = [
    ({"fallback.comfort_deceleration": 4.0, "fallback.firm_deceleration": 3.9}, "fallback.comfort_deceleration"),
    ({"fallback.firm_deceleration": 7.5}, "fallback.firm_deceleration"),
    ({"envelope.acceleration_margin": 2.0, "envelope.acceleration_max": 1.9}, "envelope.acceleration_margin"),
    ({"expected.cap_threshold": 1.0, "expected.comfort_threshold": 0.9}, "expected.cap_threshold"),
    ({"expected.firm_threshold": 1.0}, "expected.comfort_threshold"),
    ({"authority.speed_cap": 0.995}, "authority.speed_cap"),
    ({"authority.stop": 0.99995}, "authority.stop"),
    ({"tracking.existence_max": 0.999}, "authority.emergency"),
    ({"health.plan_timeout": 0.05}, "health.plan_timeout"),
    ({"health.odometry_timeout": 0.05}, "health.odometry_timeout"),
    ({"health.radar_timeout": 0.05}, "health.radar_timeout"),
    ({"health.ultrasonic_timeout": 0.05}, "health.ultrasonic_timeout"),
    ({"health.clock_jump": 0.05}, "health.clock_jump"),
    ({"health.control_timeout": 0.05}, "health.control_timeout"),
    ({"health.heartbeat_timeout": 0.05}, "health.heartbeat_timeout"),
    ({"near_field.approach_tolerance": 0.3, "near_field.stop_distance": 0.3}, "near_field.approach_tolerance"),
    ({"odd.friction_min": 0.7}, "odd.friction_min"),
    ({"vehicle.brake_force_max": 12000.0}, "vehicle.brake_force_max"),
    ({"odd.load_max": 2000.0}, "odd.load_max"),
    ({"odd.grade_max": 0.2}, "odd.grade_max"),
    ({"sensors.us.range_min": 6.0}, "sensors.us.range_min"),
    ({"sensors.us.topic": ""}, "sensors.us.topic is missing"),
    ({"inputs.odometry": ""}, "inputs.odometry and inputs.twist"),
    ({"sensors.us.fields": "doppler=v,speed=w"}, "sensors.us.fields"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "named"), CROSS, ids=[named for _, named in CROSS])
def test_a_rule_between_parameters_is_refused_when_violated(values, named):
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        with_values(FULL, values)
    assert all(holds for holds, _ in parameters.cross_rules(FULL))


def test_every_rule_between_parameters_has_a_case_that_violates_it():
    broken = set()
    for values, _ in CROSS:
        data = to_mapping(FULL)
        for key, value in values.items():
            group, *rest = key.split(".")
            node = data[group]
            for part in rest[:-1]:
                node = node[part]
            node[rest[-1]] = value
        groups = {name: kind(**data[name]) for name, kind in parameters.GROUPS.items()}
        sensors = tuple((name, Sensor(**sensor)) for name, sensor in data["sensors"].items())
        stand_in = dataclasses.make_dataclass("StandIn", [*groups, "sensors"])(**groups, sensors=sensors)
        broken |= {i for i, (holds, _) in enumerate(parameters.cross_rules(stand_in)) if not holds}
    texts = [text for _, text in parameters.cross_rules(FULL)]
    # The names of the sensors and the two newest orders have tests of their own.
    own = {i for i, text in enumerate(texts) if "stands twice" in text or "name of another input" in text
           or "too late" in text or text.startswith("sensors.front")}
    assert broken | own == set(range(len(texts))), [texts[i] for i in set(range(len(texts))) - broken - own]


def test_a_threshold_that_its_own_stop_cannot_meet_is_refused():
    assert "expected.firm_threshold" in refused("expected.firm_threshold", FULL.fallback.firm_deceleration)
    assert "expected.comfort_threshold" in refused("fallback.comfort_deceleration", FULL.expected.comfort_threshold)


@pytest.mark.parametrize("name", parameters.RESERVED)
def test_a_sensor_cannot_stand_in_for_another_input(name):
    with pytest.raises(ConfigError, match="name of another input"):
        config(**{name: RADAR})


def test_two_sensors_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="stands twice"):
        Config(sensors=(("front", RADAR), ("front", RADAR)))
    with pytest.raises(ConfigError, match="stands twice"):
        from_mapping({"sensors": {1: {"topic": "a"}, "1": {"topic": "b"}}})


@pytest.mark.parametrize(
    "change",
    [{"odd": None}, {"odd": Config().vehicle}, {"odd": parameters.Odd(speed_max=math.nan)},
     {"odd": parameters.Odd(grade_max=math.inf)}, {"odd": parameters.Odd(speed_max="fast")},
     {"vehicle": parameters.Vehicle(mass=0.0), "odd": parameters.Odd(load_max=0.0)}],
)  # fmt: skip
def test_a_config_built_in_code_is_checked_like_a_file(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(FULL, **change)


@pytest.mark.parametrize(("key", "kind", "name", "value"), EVERY, ids=[key for key, *_ in EVERY])
def test_every_parameter_changes_the_digest(key, kind, name, value):
    for other in other_values(kind, name, value):
        try:
            changed = with_values(FULL, {key: other})
        except ConfigError:
            continue
        assert changed.digest != FULL.digest
        return
    pytest.fail(f"no other value of {key} is allowed by the rules between parameters")


def test_the_certificate_does_not_change_the_digest_but_the_order_of_sensors_and_names_do_what_they_say():
    certified = parameters.with_certificate(FULL, "abc")
    assert certified.certificate == "abc"
    assert certified.digest == FULL.digest
    renamed = Config(sensors=(("other", RADAR), ("us", ULTRASONIC)))
    assert renamed.digest != FULL.digest


def test_changed_values_drop_the_certificate():
    certified = parameters.with_certificate(FULL, "abc")
    assert with_values(certified, {"vehicle.mass": 1700.0}).certificate is None
    assert with_values(certified, {"vehicle.mass": 1700.0}).vehicle.mass == 1700.0
    assert certified.vehicle.mass == FULL.vehicle.mass


def test_a_config_survives_the_round_trip_through_plain_data():
    changed = with_values(FULL, {"vehicle.mass": 1700.0, "sensors.us.expected": False, "tracking.tracks_max": 7})
    assert from_mapping(to_mapping(changed)) == changed
    assert from_mapping(to_mapping(changed)).digest == changed.digest


def test_a_config_cannot_be_edited():
    for target, name in ((FULL, "odd"), (FULL.odd, "speed_max"), (FULL, "digest"), (RADAR, "x")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(target, name, getattr(target, name))


def test_sensors_are_found_by_kind():
    assert list(FULL.sensors_of("radar")) == ["front"]
    assert list(FULL.sensors_of("ultrasonic", "radar")) == ["front", "us"]
    assert FULL.sensors_of("radar_tracks") == {}


def test_the_commit_interval_is_the_longer_of_a_late_tick_and_the_gate():
    assert CONFIG.timing.commit == CONFIG.timing.gate_timeout
    slow = with_values(CONFIG, {"timing.overrun": 0.2})
    assert slow.timing.commit == slow.timing.period + 0.2


def test_the_orders_of_the_defaults_are_strict_where_it_matters():
    f = CONFIG.fallback
    assert all(a < b for a, b in pairwise((f.comfort_deceleration, f.firm_deceleration, f.emergency_deceleration)))
