"""What Foxglove gets: an MCAP file with its schemas, and the same live on the loopback interface."""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import Counter
from itertools import islice

import pytest
import recordings

pytest.importorskip("foxglove")

from mcap.reader import make_reader

from safety_supervisor import cli
from safety_supervisor.replay import view
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.replay.inputs import Options, prepare

SCHEMAS = {
    "/tf": "foxglove.FrameTransform",
    "/supervisor/ego": "foxglove.PoseInFrame",
    "/supervisor/tracks": "foxglove.SceneUpdate",
    "/supervisor/corridor": "foxglove.SceneUpdate",
    "/supervisor/scene": "foxglove.SceneUpdate",
    "/supervisor/log": "foxglove.Log",
    "/supervisor/decision": "safety_supervisor.Decision",
}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return recordings.write(tmp_path_factory.mktemp("foxglove") / "drive", recordings.drive(1.0))


def messages(path):
    with path.open("rb") as file:
        return [(c.topic, s.name, m.log_time, m.data) for s, c, m in make_reader(file).iter_messages()]


def test_an_mcap_file_holds_every_tick_in_foxglove_schemas(bag, tmp_path, capsys):
    file, out = tmp_path / "new" / "drive.mcap", tmp_path / "out"
    assert cli.main(["replay", str(bag), "--out", str(out), "--mcap", str(file), "--no-report"]) == 0
    assert f"{file}: for Foxglove" in capsys.readouterr().out
    found = messages(file)
    assert {topic: name for topic, name, _, _ in found} == SCHEMAS
    lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    decisions = [(t, json.loads(data)) for topic, _, t, data in found if topic == "/supervisor/decision"]
    assert decisions == [(line["t"], line) for line in lines]
    counts = Counter(topic for topic, *_ in found)
    assert counts["/supervisor/scene"] == counts["/supervisor/tracks"] == len(lines)
    assert counts["/tf"] == sum(line["ego"] is not None for line in lines)
    logged = [data for topic, _, _, data in found if topic == "/supervisor/log"]
    assert 1 <= len(logged) < len(lines)  # changes only
    assert any(b"NOMINAL" in data for data in logged)
    tracks = [data for topic, _, _, data in found if topic == "/supervisor/tracks"]
    assert b"track 1" in tracks[-1]
    assert [file.name for file in file.parent.iterdir()] == ["drive.mcap"]


def test_the_recording_itself_is_never_written_over(bag, tmp_path, capsys):
    inside = sorted(file for file in bag.rglob("*") if file.is_file())
    before = [file.read_bytes() for file in inside]
    out = tmp_path / "out"
    for file in [*inside, out / "decisions.jsonl"]:
        assert cli.main(["replay", str(bag), "--out", str(out), "--mcap", str(file), "--no-report"]) == 2
        assert "expected" in capsys.readouterr().err
    alone = next(file for file in inside if file.suffix in (".mcap", ".db3"))
    assert cli.main(["replay", str(alone), "--out", str(out), "--mcap", str(alone), "--no-report"]) == 2
    assert f"--mcap {alone}: is part of the recording" in capsys.readouterr().err
    assert [file.read_bytes() for file in inside] == before
    assert not out.exists()


def test_an_interrupted_replay_leaves_no_mcap_file(bag, tmp_path, monkeypatch):
    monkeypatch.setattr("safety_supervisor.replay.command.json_line", _interrupt)
    arguments = ["--out", str(tmp_path / "out"), "--mcap", str(tmp_path / "x.mcap"), "--no-report", "--quiet"]
    assert cli.main(["replay", str(bag), *arguments]) == 130
    assert not list(tmp_path.glob("x.mcap*"))


def _interrupt(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["replay", "{bag}", "--mcap", "{folder}", "--out", "{folder}/out"], "is a folder"),
        (["replay", "{bag}", "{bag}", "--each", "--mcap", "{folder}/x.mcap", "--out", "{folder}/out"], "one by one"),
        (["view", "{bag}", "--port", "70000"], "--port is 70000"),
        (["view", "{bag}", "--rate", "-1"], "--rate is -1"),
        (["view", "{bag}", "--rate", "nan"], "--rate is nan"),
        (["view", "{folder}/nothing"], "no such file or folder"),
    ],
)
def test_bad_input_is_one_line(bag, tmp_path, capsys, arguments, expected):
    assert cli.main([a.format(bag=bag, folder=tmp_path) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_without_the_library_it_is_one_line(bag, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["view", str(bag)]) == 2
    assert cli.main(["replay", str(bag), "--mcap", str(tmp_path / "x.mcap"), "--out", str(tmp_path / "o")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "pip install 'safety_supervisor[view]'" in line] == lines
    assert len(lines) == 2


# --- live -----------------------------------------------------------------------------------------------------


def _decisions(bag, n):
    with open_bag(bag) as opened:
        run = prepare(opened, Options()).run
        return list(islice(run.decisions(), n)), run.config


@pytest.mark.xdist_group("live_view")
def test_a_client_on_the_loopback_interface_sees_the_topics_and_the_ticks(bag, capsys):
    client = pytest.importorskip("websockets.sync.client")
    decisions, config = _decisions(bag, 12)
    options = argparse.Namespace(port=_free_port(), rate=0.0, no_wait=False)
    served = threading.Thread(target=view.show, args=(_slowly(decisions), config, "test", options), daemon=True)
    served.start()
    with _connected(client, options.port) as socket_:
        topics = {}
        while len(topics) < len(SCHEMAS):
            text = socket_.recv(timeout=20)
            if isinstance(text, str):
                topics |= {c["id"]: c for c in json.loads(text).get("channels", ())}
        assert {c["topic"]: c["schemaName"] for c in topics.values()} == SCHEMAS
        (wanted,) = [c for c in topics.values() if c["topic"] == "/supervisor/decision"]
        request = {"op": "subscribe", "subscriptions": [{"id": 7, "channelId": wanted["id"]}]}
        socket_.send(json.dumps(request))
        seen = [json.loads(data[13:]) for data in _binary(socket_, 1, 5)]
    assert {d["mode"] for d in seen} <= {d.mode.name for d in decisions}
    assert [d["t"] for d in seen] == [d.t for d in decisions[: len(seen)]] or seen[0]["t"] >= decisions[0].t
    served.join(timeout=30)
    assert not served.is_alive()
    assert f"ws://127.0.0.1:{options.port}" in capsys.readouterr().out


def _connected(client, port):
    for _ in range(100):
        try:
            return client.connect(f"ws://127.0.0.1:{port}", subprotocols=["foxglove.sdk.v1", "foxglove.websocket.v1"])
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def _binary(socket_, kind, count):
    """Message data of one subscription; other frames are skipped."""
    found = []
    while len(found) < count:
        data = socket_.recv(timeout=20)
        if isinstance(data, bytes) and data[0] == kind:
            found.append(data)
    return found


def _slowly(decisions):
    for decision in decisions:
        time.sleep(0.05)
        yield decision


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.xdist_group("live_view")
def test_a_port_that_is_taken_is_one_line(bag, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["view", str(bag), "--port", str(port), "--no-wait"]) == 2
    assert f"--port {port}: cannot serve there" in capsys.readouterr().err


@pytest.mark.xdist_group("live_view")
def test_a_whole_recording_is_shown_without_a_viewer(bag, capsys):
    assert cli.main(["view", str(bag), "--port", "0", "--rate", "0", "--no-wait"]) == 0
    assert "done     21 ticks shown" in capsys.readouterr().out


def test_ticks_keep_their_distance(bag, monkeypatch):
    slept = []
    now = [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])

    def sleep(duration):
        slept.append(duration)
        now[0] += duration

    monkeypatch.setattr(view.time, "sleep", sleep)
    decisions, _ = _decisions(bag, 5)
    assert list(view.paced(decisions, 2.0)) == decisions
    assert slept == pytest.approx([0.0, 0.025, 0.025, 0.025, 0.025])
    slept.clear()
    list(view.paced(decisions, 0.0))
    assert slept == []
