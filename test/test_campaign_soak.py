"""The gauge of the long runs: what grows or leaks is told, and a run that is stopped tells what it had."""

from __future__ import annotations

import os
import signal

import pytest
import soak


def gauge(rss, handles=None):
    made = soak.Gauge()
    made.at = [float(i) for i in range(len(rss))]
    made.rss, made.handles = list(rss), list(handles or [10] * len(rss))
    return made.figures()


def test_the_slope_is_that_of_the_line_after_the_first_tenth():
    figures = gauge([50.0, *(100.0 + 0.5 * i for i in range(1, 21))])
    assert figures["rss_slope_mb_per_hour"] == pytest.approx(0.5)
    assert figures["rss_growth_mb"] == pytest.approx(10.0)
    assert (figures["hours"], figures["flat"], figures["handle_leak"]) == (20.0, True, False)


def test_control_memory_that_grows_is_not_flat():
    assert not gauge([100.0 + 1.0 * i for i in range(21)])["flat"]


def test_control_a_handle_that_stays_open_is_a_leak():
    assert gauge([100.0] * 21, [10] * 20 + [11])["handle_leak"]


def test_a_gauge_reads_this_process():
    made = soak.Gauge()
    made.sample(0.0)
    assert made.rss[0] > 5.0
    with open(os.devnull):
        made.sample(1.0)
    assert made.handles[1] == made.handles[0] + 1


def test_a_run_that_is_stopped_ends_with_the_pass_under_way(monkeypatch):
    def endless(hours, vehicle):
        for i in range(1000):
            if i == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield {"hours": i}

    monkeypatch.setitem(soak.SOAKS, "step", endless)
    kept = []
    before = signal.getsignal(signal.SIGTERM)
    assert soak.soaked("step", 24.0, kept.append) == {"hours": 3}
    assert kept == [{"hours": 3}]
    assert signal.getsignal(signal.SIGTERM) is before


def test_figures_of_a_run_under_way_are_kept_now_and_then(monkeypatch):
    monkeypatch.setitem(soak.SOAKS, "step", lambda hours, vehicle: ({"hours": i} for i in range(3)))
    monkeypatch.setattr(soak, "RECORDED_EVERY", 0.0)
    kept = []
    soak.soaked("step", 3.0, kept.append)
    assert [figures["hours"] for figures in kept] == [0, 1, 2, 2]
