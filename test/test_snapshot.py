"""The supervisor's state as text: it comes back bit for bit, and a file makes nothing but what it may."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from flights import CONFIG, Flight
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor import snapshot
from safety_supervisor.core import supervisor
from safety_supervisor.core.world import Code, Mode, Plan
from safety_supervisor.messages import Carried
from safety_supervisor.ros import frames
from safety_supervisor.snapshot import Snapshot, SnapshotError, decode, encode, from_text, to_text


def texts():
    ticks = [frame for tick in Flight(2.0, plan_until=1.0).ticks(snapshot_every=5) for frame in tick]
    return [payload.decode() for kind, _, payload in ticks if kind == frames.SNAPSHOT]


TEXTS = texts()


@pytest.mark.parametrize("text", TEXTS)
def test_a_state_comes_back_as_it_was(text):
    back = from_text(text)
    assert to_text(back) == text
    assert back.config == CONFIG
    assert isinstance(back.state, supervisor.State)


def test_the_states_hold_what_matters():
    last = from_text(TEXTS[-1])
    assert len(last.state.tracker.tracks) > 0
    assert last.state.validated is not None
    assert last.carried.odometry is not None
    assert from_text(TEXTS[0]).t is None


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_double_comes_back(value):
    back = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert np.float64(back).tobytes() == np.float64(value).tobytes() or (value != value and back != back)


@pytest.mark.parametrize(
    "value",
    [None, True, 7, "text", b"bytes", (1, (2.5, "x")), Mode.COMFORT_STOP, Code.ENVELOPE, np.float64(0.1), np.int64(-3),
     np.bool_(True)],
)  # fmt: skip
def test_every_kind_of_value_comes_back(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("array", [np.zeros((0, 4)), np.arange(6).reshape(2, 3), np.array([True]), np.float32([1.5])])
def test_arrays_come_back_with_shape_and_kind_and_cannot_be_written(array):
    back = decode(json.loads(json.dumps(encode(array))))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert not back.flags.writeable


@dataclass(frozen=True)
class Foreign:
    x: int = 0


@pytest.mark.parametrize("value", [Foreign(), [1], {"a": 1}, {1}, object(), np.array(["text"]), 1j])
def test_control_other_things_have_no_form(value):
    with pytest.raises(TypeError, match="has no form in a snapshot"):
        encode(value)


def changed(**values):
    return json.dumps({**json.loads(TEXTS[-1]), **values})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        (changed(schema=2), "has schema 2, expected 1"),
        (changed(digest="0"), "not those that it was made with"),
        (changed(parameters={"no": 1}), "unknown key no"),
        (changed(state=None), "holds no state"),
        (changed(state={"c": "os.system", "v": {}}), "no such class in this version: 'os.system'"),
        (changed(state={"c": "core.world.Plan", "v": {"t": 1}}), "core.world.Plan has the fields t, time"),
        (changed(state={"c": "core.world.Mode", "v": {}}), "is no record"),
        (changed(state={"e": "core.world.Plan", "v": "x"}), "no such class"),
        (changed(state={"e": "core.world.Mode", "v": "DANCE"}), "DANCE"),
        (changed(state={"a": "<f8", "s": [3], "v": "AAAA"}), "does not have 3 bytes"),
        (changed(state={"a": "O", "s": [1], "v": "AAAAAAAAAAA="}), "no such kind of number"),
        (changed(state={"a": "<f8", "s": [-1], "v": ""}), "does not have 0 bytes"),
        (changed(state={"f": "one"}), "cannot be read"),
        (changed(state=[]), "holds no state"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_snapshot_of_this_version_is_refused_in_one_line(text, said):
    with pytest.raises(SnapshotError, match=said) as caught:
        from_text(text)
    assert "\n" not in str(caught.value)


def test_nesting_is_bounded():
    deep = None
    for _ in range(200):
        deep = [deep]
    with pytest.raises(SnapshotError, match="nested too deeply"):
        decode(deep)


@given(st.data())
def test_a_text_that_is_changed_anywhere_does_no_more_than_refuse(data):
    text = list(TEXTS[2])
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from('0123456789"{}[],:aZ'))
    try:
        back = from_text("".join(text))
    except SnapshotError:
        return
    assert isinstance(back, Snapshot)


def test_every_class_of_the_state_is_known_by_a_name_of_its_own():
    assert snapshot.encode(supervisor.State())["c"] == "core.supervisor.state.State"
    assert encode(Carried())["c"] == "messages.Carried"
    assert encode(Plan(1, *([0.0],) * 5))["c"] == "core.world.Plan"
