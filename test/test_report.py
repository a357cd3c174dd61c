"""The report is one file, loads nothing, shows what happened, and nothing from a bag becomes markup."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Assessment, Decision, Health, Mode, Odometry, Tracks, Verdict
from safety_supervisor.replay import command, report
from safety_supervisor.replay.bag import make


class Page(HTMLParser):
    """Collects elements and the text of the data element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self.inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.data += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    messages = [m for m in drive(3.0) if m[0] != "/policy/trajectory" or m[2] < START + 2 * 10**9]
    ghost = recordings.odometry(START, 5.0, 1.0)
    messages.append(("/scenario/unsupervised/odometry", recordings.ODOMETRY, START, ghost))
    messages.append(("/</script><b>odd", recordings.STRING, START, make(recordings.STRING)))
    write(path / "<i>drive", sorted(messages, key=lambda m: m[2]))
    command.replay(path / "<i>drive", path / "out")
    return path / "out"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_one_file_that_loads_nothing(folder, page):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert len(text) < 8_000_000
    assert not any("src" in attrs or "href" in attrs for _, attrs in page.tags)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_the_data_holds_every_intervention_with_its_reason_and_pictures(folder, page):
    data = json.loads(page.data)
    summary = json.loads((folder / "summary.json").read_text())
    assert data["summary"]["interventions"] == summary["interventions"] != []
    assert data["config"]["digest"] == summary["config"]["digest"]
    assert len(data["frames"]["t"]) == len(data["frames"]["v"]) == summary["ticks"]
    last = data["frames"]["v"][-1]
    assert data["modes"][last["m"]] == "COMFORT_STOP"
    assert last["t"]
    assert last["p"]
    assert last["r"][0][0] == "PLAN_STALE"
    assert data["ghost"] == [[0.0, 5.0, 0.0, 0.0]]
    assert data["runs"][-1][2] == int(Mode.COMFORT_STOP)


def test_text_from_a_bag_is_never_markup(page):
    data = json.loads(page.data)
    assert any(entry["topic"] == "/</script><b>odd" for entry in data["summary"]["inputs"]["ignored"])
    assert {"b", "i"}.isdisjoint(tag for tag, _ in page.tags if not _.get("style"))
    assert sum(tag == "script" for tag, _ in page.tags) == 3


def decision(t, mode=Mode.NOMINAL, tracks=0, x=0.0):
    rng = np.random.default_rng(t % 1000)
    states = rng.normal(0, 50, (tracks, 4))
    listed = Tracks(
        t, np.arange(tracks), states, np.zeros((tracks, 4, 4)), np.ones(tracks), np.full(tracks, t),
        np.ones(tracks, int), np.ones(tracks, bool),
    )  # fmt: skip
    empty = {f.name: () for f in fields(Assessment)}
    assessment = Assessment(**{
        **empty, "verdict": Verdict.SAFE, "demand": mode, "margin": np.inf, "margins": (("longitudinal", 5.0 + x),),
        "track": None, "lead": None, "speed_cap": np.inf,
    })  # fmt: skip
    return Decision(
        t, mode, Verdict.SAFE, assessment, (), Health(), False, "policy", None, None, 0.0, 0.0, False, False, False,
        False, Odometry(t, x, 0.0, 0.0, 10.0, 0.0), rng.normal(0, 50, (80, 2)), 1.5, listed, (), (), "digest", None,
    )  # fmt: skip


def test_an_hour_stays_small_and_keeps_every_picture_around_an_intervention():
    pictures = report.Pictures(Config())
    period, n = 50_000_000, 20_000
    sample = json.loads(report._json(report._picture(decision(0, tracks=30))))
    text = report._json(sample)
    for i in range(n):
        pictures.times.append(i * period)
        pictures.modes.append(1)
        pictures.pictures.append(text)
    start = 5_000 * period
    frames = report._frames(pictures, [start])
    assert sum(map(len, frames["v"])) < 1.05 * report.PICTURES_MAX
    near = [t for t in frames["t"] if abs(t - start / 1e9) <= report.AROUND]
    assert len(near) == 2 * report.AROUND / 0.05 + 1
    assert frames["t"][0] == 0.0
    assert frames["t"][-1] > 0.99 * n * 0.05


def test_curves_are_thinned_out_to_the_smallest_value_of_each_group():
    pictures = report.Pictures(Config())
    n = 3 * report.POINTS_MAX
    for i in range(n):
        pictures.add(decision(i * 50_000_000, x=-100.0 if i == 1234 else 1.0))
    curves = report._curves(pictures)
    assert len(curves["t"]) <= report.POINTS_MAX
    assert min(curves["values"]["margin longitudinal"]) == -95.0
    assert "cap" not in curves["values"]


def test_a_decision_without_ego_has_a_picture():
    blind = replace(decision(0, tracks=2), ego=None, path=np.zeros((0, 2)))
    picture = json.loads(report._json(report._picture(blind)))
    assert picture["e"][3] is None
    assert picture["p"] == []
