"""The command line as a user meets it: help without dependencies, one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recordings import START, drive, write

from safety_supervisor import __version__, cli
from safety_supervisor.core.config import GROUPS, Sensor, parameters

ROOT = Path(__file__).resolve().parents[1]
VERBS = [verb.name for verb in cli.VERBS]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cli") / "drive", drive(2.0))


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def one_line(err):
    assert err.startswith("safety-supervisor: error: ")
    assert err.count("\n") == 1
    return err


# --- the command itself ---------------------------------------------------------------------------------------


def test_help_lists_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)


def test_version(capsys):
    assert run(capsys, "--version")[:2] == (0, f"safety-supervisor {__version__}\n")


def test_no_verb_shows_the_help_and_is_a_usage_error(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert "replay" in out


@pytest.mark.parametrize(("word", "hint"), [("repaly", "did you mean replay?"), ("zzz", "there are replay")])
def test_an_unknown_verb_suggests_the_nearest(capsys, word, hint):
    code, _, err = run(capsys, word)
    assert code == 2
    assert hint in one_line(err)


@pytest.mark.parametrize("verb", ["replay", "config"])
def test_help_of_a_verb(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert out.startswith(f"usage: safety-supervisor {verb}")


def test_help_works_when_the_libraries_of_other_verbs_are_missing():
    code = (
        "import sys\n"
        "for name in ('z3', 'cvc5', 'rclpy', 'rosbags', 'mcap', 'plotly', 'tqdm', 'scipy', 'shapely'):\n"
        "    sys.modules[name] = None\n"
        "from safety_supervisor.cli import main\n"
        "assert main(['--help']) == 0\n"
        "assert main(['config', '--help']) == 0\n"
        "assert main(['config']) == 0\n"
        "sys.exit(main(['replay', '--help']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "replay needs the Python package" in one_line(done.stderr)


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m safety_supervisor config --table | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.startswith("| parameter")


def shell(command, *paths):
    """Run a line in which `tool` and {} stand for the command and the paths."""
    tool = f"{sys.executable} -m safety_supervisor"
    line = command.replace("tool", tool).format(*(shlex.quote(str(path)) for path in paths))
    bash = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(bash, cwd=ROOT, capture_output=True, check=False, timeout=60)


def test_a_reader_that_goes_away_does_not_make_a_failure_a_success(tmp_path):
    planless_end = [m for m in drive(2.0) if m[0] != "/policy/trajectory" or m[2] < START + 10**9]
    path = write(tmp_path / "drive", planless_end)
    for reader in ("true", "cat >&2"):
        done = shell("tool replay {} --out {} --fail-on COMFORT_STOP | " + reader, path, tmp_path / "out")
        assert done.returncode in ((cli.FAILED,) if reader != "true" else (cli.FAILED, cli.UNREAD))


@pytest.mark.parametrize(
    "command",
    [
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 tool replay {} --out {}",
        "tool replay {} --out {} >&-",
        "tool replay {} --out {} --quiet 2>&-",
    ],
)
def test_no_name_and_no_stream_stops_a_replay(tmp_path, bag, command):
    path, out = tmp_path / "Fahrt ä 日本 \udcff", tmp_path / "out"
    shutil.copytree(bag, path)
    done = shell(command, path, out)
    assert (done.returncode, done.stderr) == (0, b"")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["bag"] == "Fahrt ä 日本 \ufffd"


def hear_hang_ups():
    """Also where these tests run under nohup, which every child inherits."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_request_to_end_is_one_line_and_leaves_nothing(tmp_path):
    path, out = write(tmp_path / "drive", drive(60.0)), tmp_path / "out"
    arguments = [sys.executable, "-m", "safety_supervisor", "replay", str(path), "--out", str(out)]
    for request_to_end in (signal.SIGTERM, signal.SIGHUP):
        with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                              preexec_fn=hear_hang_ups) as process:  # fmt: skip
            while process.poll() is None and not list(out.glob("*.part")):
                time.sleep(0.02)
            process.send_signal(request_to_end)
            _, err = process.communicate(timeout=120)
        assert err == "safety-supervisor: terminated, nothing is left half-written\n"
        assert process.returncode == 128 + request_to_end
        assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [(("--config", "x"), "the verb comes first"), (("config", "--tabel"), "(see safety-supervisor config --help)")],
)
def test_a_wrong_option_says_where_help_is(capsys, arguments, wanted):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert wanted in one_line(err)


@pytest.mark.parametrize("kept", [(), ("mine.txt",)])
def test_an_interruption_is_one_line_and_130(capsys, bag, tmp_path, monkeypatch, kept):
    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    for name in kept:
        out.mkdir()
        (out / name).touch()
    monkeypatch.setattr("safety_supervisor.replay.report.Pictures.add", interrupted)
    code, _, err = run(capsys, "replay", bag, "--out", out, "--quiet")
    assert code == 130
    assert err.strip().count("\n") == 0
    assert [f.name for f in tmp_path.glob("out/*")] == list(kept)
    assert out.exists() == bool(kept)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def broken(*_):
        raise RuntimeError("fault")

    monkeypatch.setattr(cli, "_dispatch", broken)
    with pytest.raises(RuntimeError):
        cli.main(["replay"])


# --- replay ---------------------------------------------------------------------------------------------------


def test_replay_writes_its_results_where_it_is_told(capsys, bag, tmp_path):
    code, out, _ = run(capsys, "replay", bag, "--out", tmp_path / "out")
    assert code == 0
    assert "NOMINAL" in out
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"decisions.jsonl", "summary.json", "report.html"}


def test_replay_names_its_folder_after_the_bag(capsys, bag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "replay", bag / "drive.mcap", "--no-report", "--quiet")
    assert (code, out, err) == (0, "", "")
    assert {f.name for f in (tmp_path / "replay_drive").iterdir()} == {"decisions.jsonl", "summary.json"}


@pytest.mark.parametrize(("mode", "code"), [("COMFORT_STOP", 1), ("speed_cap", 1), ("EMERGENCY_STOP", 0)])
def test_fail_on_a_mode_that_is_reached(capsys, tmp_path, mode, code):
    messages = [m for m in drive(2.0) if m[0] != "/policy/trajectory" or m[2] < drive(0.1)[0][2] + 10**9]
    path = write(tmp_path / "ends", messages)
    assert run(capsys, "replay", path, "--out", tmp_path / "out", "--no-report", "--fail-on", mode)[0] == code


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["replay"], "BAG"),
        (["replay", "nowhere"], "nowhere: no such file or folder"),
        (["replay", "{bag}", "--fail-on", "PANIC"], "PANIC"),
        (["replay", "{bag}", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["replay", "{bag}", "--set", "timing.period"], "KEY=VALUE"),
        (["replay", "{bag}", "--set", "timing.perod=1"], "did you mean timing.period?"),
        (["replay", "{bag}", "--set", "timing.period=9"], "[0.005, 0.2] s"),
        (["replay", "{bag}", "--set", "timing.period=fast"], "timing.period"),
        (["replay", "{bag}", "--set", "timing.period=.nan"], "timing.period"),
        (["replay", "{bag}", "--set", "timing.period.x=1"], "unknown key"),
        (["replay", "{bag}", "--set", "timing.period={"], "not a value"),
        (["replay", "{bag}", "--out", "{bag}/metadata.yaml"], "metadata.yaml: is a file"),
        (["replay", "{bag}", "--nonsense"], "--nonsense"),
        (["config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_usage_and_input_is_one_line_and_2(capsys, bag, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *(a.replace("{bag}", str(bag)) for a in arguments))
    assert code == 2
    assert text in one_line(err)


def test_a_vehicle_file_with_a_typo_names_file_key_and_range(capsys, bag, tmp_path):
    vehicle = tmp_path / "car.yaml"
    vehicle.write_text("timing: {perod: 0.05}\nvehicle: {mass: -3.0}\n")
    code, _, err = run(capsys, "replay", bag, "--config", vehicle, "--out", tmp_path / "out")
    assert code == 2
    text = one_line(err)
    for wanted in ("car.yaml", "timing.perod", "did you mean timing.period?", "vehicle.mass", "60000"):
        assert wanted in text


def test_a_recovered_bag_is_a_success(capsys, bag, tmp_path):
    folder = tmp_path / "crashed"
    folder.mkdir()
    (folder / "a.mcap").write_bytes((bag / "drive.mcap").read_bytes())
    code, out, _ = run(capsys, "replay", folder, "--out", tmp_path / "out", "--no-report")
    assert code == 0
    assert "recovered" in out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_bag_that_may_not_be_read_is_one_line(capsys, bag, tmp_path):
    path = tmp_path / "secret.mcap"
    path.write_bytes((bag / "drive.mcap").read_bytes())
    path.chmod(0)
    code, _, err = run(capsys, "replay", path)
    assert code == 2
    one_line(err)


# --- config ---------------------------------------------------------------------------------------------------


def test_config_shows_what_is_in_force(capsys, tmp_path):
    vehicle = tmp_path / "car.yaml"
    vehicle.write_text("timing: {period: 0.1}\nsensors: {front: {topic: radar}}\n")
    code, out, _ = run(capsys, "config", vehicle)
    assert code == 0
    assert "timing.period = 0.1 s  (0.005 to 0.2, default 0.05)" in out
    assert "sensors.front.topic = radar" in out
    assert "shadow mode only" in out


def test_config_prints_a_ros_parameter_file_that_can_be_read_again(capsys, tmp_path):
    code, out, _ = run(capsys, "config", "--ros")
    assert code == 0
    again = tmp_path / "again.yaml"
    again.write_text(out)
    assert run(capsys, "config", again)[0] == 0


def test_the_table_has_a_line_for_every_declared_parameter(capsys):
    _, out, _ = run(capsys, "config", "--table")
    declared = sum(1 for group in [*GROUPS.values(), Sensor] for _ in parameters(group))
    assert len(out.splitlines()) == declared + 2
    assert all(line.count(" | ") == 4 for line in out.splitlines()[2:])
