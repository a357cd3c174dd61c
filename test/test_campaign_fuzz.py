"""The fuzz targets hold on their seeds and on a few thousand mutations of them; the campaign goes on from there."""

from __future__ import annotations

import random
from types import SimpleNamespace as Shape

import fuzz
import pytest
import targets
from targets import TARGETS

from safety_supervisor import messages, vehicle_file
from safety_supervisor.core.world import Plan

ROUNDS = {"bag": 60, "cdr": 1500, "config": 60, "messages": 1500}


def mutated(data: bytes, rng: random.Random, length: int) -> bytes:
    """Flip, cut, repeat or overwrite some bytes."""
    work = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(work) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(work):
            work[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del work[at : at + rng.randint(1, 16)]
        elif kind == 2:
            work[at:at] = work[max(at - 8, 0) : at]
        else:
            work[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\xc0\x7f", b"\x01\0\0\0"))
    return bytes(work[:length])


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_what_becomes_of_them(name):
    target, rng = TARGETS[name], random.Random(8)
    seeds = list(target.seeds())
    assert any(target.run(seed) not in (None, 0) for seed in seeds)  # they reach beyond the first refusal
    for _ in range(ROUNDS[name]):
        target.run(mutated(rng.choice(seeds), rng, target.length))


def test_every_type_that_is_understood_is_fuzzed():
    assert set(targets.LAYOUTS) == {kind for kinds in messages.TYPES.values() for kind in kinds}
    assert set(targets.LAYOUTS) == set(messages._READERS)


def test_a_shape_is_filled_from_bytes_alone():
    layout = targets.LAYOUTS["nav_msgs/Odometry"]
    one, two = (targets._Draw(bytes(range(90))).shape(layout) for _ in range(2))
    assert repr(one) == repr(two)
    assert not hasattr(targets._Draw(bytes([240])).shape(layout), "header")


def test_control_a_conversion_that_raises_is_a_crash(monkeypatch):
    monkeypatch.setattr(messages, "convert", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        targets.conversion(bytes(40))


def test_control_a_value_of_another_kind_is_a_crash(monkeypatch):
    monkeypatch.setattr(messages, "convert", lambda *_: Shape())
    with pytest.raises(TypeError, match="became"):
        targets.conversion(bytes(40))


def test_control_a_vehicle_file_that_changes_on_the_way_is_a_crash(monkeypatch):
    monkeypatch.setattr(vehicle_file, "to_text", lambda config: "odd: {speed_max: 20.0}\n")
    with pytest.raises(AssertionError, match="changes"):
        targets.config(b"odd: {speed_max: 30.0}\n")


def test_control_an_error_of_a_reader_is_a_crash(monkeypatch):
    def broken(path):
        raise KeyError(path)

    monkeypatch.setattr(targets, "open_bag", broken)
    with pytest.raises(KeyError):
        targets.bag(b"\0abc")


def test_a_plan_of_any_message_stays_a_plan():
    seeds = [s for s in TARGETS["cdr"].seeds() if s[0] == targets.VIEWED.index(targets.VIEWED[-1])]
    assert any(isinstance(targets.cdr_views(seed), Plan) for seed in seeds)


def test_a_target_that_is_fuzzed_again_replaces_itself_only():
    one, two = {"executions": 5, "crashes": 0, "commit": "a"}, {"executions": 7, "crashes": 1, "commit": "b"}
    made = fuzz.totals({"bag": one, "cdr": two}, {"cdr": {"executions": 9, "crashes": 0}})
    assert (made["executions"], made["crashes"]) == (14, 0)
    assert made["targets"]["bag"] == one
    assert made["targets"]["cdr"]["commit"] != "b"
