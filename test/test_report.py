"""The report is one file, loads nothing, shows what happened, and nothing from a bag becomes markup."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import MISSING, fields, replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Assessment, Decision, Health, Mode, Odometry, Tracks, Verdict
from safety_supervisor.replay import command, report
from safety_supervisor.replay.bag import make


class Page(HTMLParser):
    """Collects elements and the text of each script that has a name."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data

    @property
    def data(self):
        return self.scripts["data"]

    @property
    def frames(self):
        return unpacked(self.scripts["frames"])


def unpacked(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


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
    assert len(text) < 3_000_000
    assert not any("src" in attrs or not attrs.get("href", "#").startswith("#") for _, attrs in page.tags)
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_the_data_holds_every_intervention_with_its_reason_and_pictures(folder, page):
    data = json.loads(page.data)
    summary = json.loads((folder / "summary.json").read_text())
    assert data["summary"]["interventions"] == summary["interventions"] != []
    assert data["config"]["digest"] == summary["config"]["digest"]
    assert len(page.frames["t"]) == len(page.frames["v"]) == summary["ticks"]
    last = page.frames["v"][-1]
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
    assert sum(tag == "script" for tag, _ in page.tags) == 4


def test_each_input_has_a_lane_that_shows_when_it_was_lost(page):
    lanes = {lane["name"]: lane for lane in json.loads(page.data)["lanes"]}
    assert list(lanes) == ["odometry", "plan", "radar_front"]
    assert lanes["odometry"]["runs"] == []
    ((start, end, level),) = lanes["plan"]["runs"]
    assert 2.0 < start < 2.5
    assert end == pytest.approx(3.0, abs=0.06)
    assert json.loads(page.data)["severities"][level] == "DEGRADED"


def test_the_plotting_library_is_packed_into_the_page(page):
    library = gzip.decompress(base64.b64decode(page.scripts["plotly"]))
    assert b"plotly.js v" in library[:200]
    assert len(page.scripts["plotly"]) < len(library) / 2


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
    known = {
        "t": t, "mode": mode, "verdict": Verdict.SAFE, "assessment": assessment, "health": Health(),
        "plan_source": "policy", "command": None, "fallback": None, "acceleration": 0.0, "curvature": 0.0,
        "ego": Odometry(t, x, 0.0, 0.0, 10.0, 0.0), "path": rng.normal(0, 50, (80, 2)), "half_width": 1.5,
        "tracks": listed, "config": "digest", "certificate": None,
    }  # fmt: skip
    missing = [f.name for f in fields(Decision) if f.default is MISSING and f.default_factory is MISSING]
    return Decision(**{name: () for name in missing if name not in known}, **known)


def hour(pictures, n, tracks=30):
    """Fill in ticks with pictures that differ, as fast as a test may be."""
    period = 50_000_000
    texts = [report._json(report._picture(decision(i * 7919, tracks=tracks, x=i))) for i in range(200)]
    for i in range(n):
        pictures.times.append(i * period)
        pictures.modes.append(1)
        pictures._keep(report.Picture(i * period, texts[i % 200].replace('"m":1', f'"m":1,"i":{i}'), i))
    return period


def test_an_hour_stays_small_and_keeps_every_picture_around_an_intervention():
    pictures = report.Pictures(Config())
    period = hour(pictures, 10_000)
    pictures._intervention(9_999 * period)
    text = report._frames(pictures, report.PICTURES_MAX)
    frames = json.loads(text)
    assert len(text) < 1.05 * report.PICTURES_MAX
    near = [t for t in frames["t"] if t >= 9_999 * 0.05 - report.AROUND - 1e-6]
    assert len(near) == report.AROUND / 0.05 + 1
    assert frames["t"][0] == 0.0
    assert frames["t"][-1] == pytest.approx(9_999 * 0.05)
    assert len(report._packed_frames(pictures)) <= report.PACKED_MAX


def test_far_too_many_pictures_are_thinned_out_while_they_come():
    pictures = report.Pictures(Config())
    for i in range(2_000):
        pictures._keep(report.Picture(i * 10**9, "x" * 100_000, i, near=i == 701))
    assert sum(len(p.text) for p in pictures.kept) <= 3 * report.PICTURES_MAX
    times = [p.t // 10**9 for p in pictures.kept]
    assert times == sorted(times)
    assert 701 in times
    old = [b - a for a, b in pairwise(t for t in times if t not in (701,)) if b < 1000]
    assert max(old) == min(old) <= 16  # evenly


def test_the_same_text_is_packed_to_the_same_letters():
    assert report._packed("a" * 1000) == report._packed("a" * 1000)
    assert gzip.decompress(base64.b64decode(report._packed("ä"))) == "ä".encode()


def test_ellipses_have_the_axes_of_the_covariance():
    cov = np.diag([4.0, 0.25])[None]
    assert report._ellipses(cov, 0.0) == [[4.0, 1.0, pytest.approx(0.0, abs=0.01)]]
    ((long, short, angle),) = report._ellipses(cov, np.pi / 2)  # ego looks along y: the long axis lies across
    assert (long, short) == (4.0, 1.0)
    assert abs(angle) == pytest.approx(np.pi / 2, abs=0.01)


def test_very_many_runs_and_entries_are_summed_up_and_said_so(folder):
    summary = json.loads((folder / "summary.json").read_text())
    summary["interventions"] = summary["interventions"] * (report.LISTED_MAX + 5)
    page = Page(report.page(summary, report.Pictures(Config())))
    data = json.loads(page.data)
    listed = len(data["summary"]["interventions"])
    assert 100 < listed <= report.LISTED_MAX
    assert data["left_out"] == {"interventions": report.LISTED_MAX + 5 - listed, "findings": 0}
    assert len(page.data) < 1_500_000
    runs = report._thinned([[i, i + 1, 5 if i == 7777 else 1] for i in range(20_000)])
    assert len(runs) <= report.RUNS_MAX
    assert (runs[0][0], runs[-1][1]) == (0, 20_000)
    assert max(mode for _, _, mode in runs) == 5


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
