"""Is an object there at all: integrated existence probability in log-odds.

Three influences: a detection raises it by how much likelier it is from the object than from clutter; a miss lowers it
where the sensor could have seen the object; time lowers it everywhere. Clutter has two kinds, as real radar has: one
spread over all range rates and one that moves like the standing world.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, logit

from safety_supervisor.core.config import Sensor, Tracking
from safety_supervisor.core.world import Bools, Floats

from .ego import SensorPose

CLUTTER_SPEED_SPAN = 60.0
"""Clutter that is not of the standing world is spread over this span of range rates [m/s]."""

STATIC_DOPPLER_SIGMA = 0.3
"""Clutter of the standing world scatters this much around its range rate [m/s]."""

VIEW_MARGIN_ANGLE = 0.03
VIEW_MARGIN_RANGE = 0.02
"""Nearer than this to the edge of the field of view ([rad], share of the largest range) a miss says nothing."""


def log_odds(existence: Floats) -> Floats:
    """Return log(p / (1 - p))."""
    odds: Floats = logit(existence)
    return odds


def probability(odds: Floats) -> Floats:
    """Return the probability of log-odds."""
    existence: Floats = expit(odds)
    return existence


def faded(existence: Floats, dt: float, half_life: float) -> Floats:
    """Return existence after `dt` [s] without looking: the odds halve in each half-life, in steps of any size."""
    return probability(log_odds(existence) - math.log(2) * max(dt, 0.0) / half_life)


def clutter_density(z: Floats, pose: SensorPose, sensor: Sensor, p: Tracking) -> Floats:
    """Return false detections per scan, metre, radian and m/s at each measurement."""
    bearing = z[:, 1] + pose.yaw
    off_static = z[:, 2] + pose.vx * np.cos(bearing) + pose.vy * np.sin(bearing)
    sigma = math.hypot(STATIC_DOPPLER_SIGMA, sensor.sigma_range_rate)
    static = np.exp(-(off_static * off_static) / (2 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma)
    share = p.static_clutter_share
    return _per_area(sensor, p) * (share * static + (1 - share) / CLUTTER_SPEED_SPAN + 1e-6)


def newborn(density: Floats, sensor: Sensor, p: Tracking) -> Floats:
    """Return the existence of an object seen once: `birth_existence` in moving clutter, less where clutter
    is denser.
    """
    reference = _per_area(sensor, p) / CLUTTER_SPEED_SPAN
    odds = p.birth_existence / (1 - p.birth_existence) * np.minimum(reference / density, 1.0)
    return odds / (1 + odds)


def hit_gain(log_likelihood: Floats, density: Floats, p: Tracking) -> Floats:
    """Return the gain in log-odds for detections of this likelihood among clutter of this density."""
    return math.log(p.detection_probability) + log_likelihood - np.log(density)


def miss_gain(p: Tracking) -> float:
    """Return the (negative) gain in log-odds for an object that should have been seen and was not."""
    return math.log(1 - p.detection_probability * p.gate_probability)


def in_view(z: Floats, sensor: Sensor) -> Bools:
    """Return where the sensor could have seen an object at range and azimuth `z` (N, 2 or more)."""
    margin = VIEW_MARGIN_RANGE * sensor.range_max
    near = sensor.range_min + min(margin, sensor.range_min)
    visible: Bools = (z[:, 0] > near) & (z[:, 0] < sensor.range_max - margin)
    if sensor.half_angle < math.pi - VIEW_MARGIN_ANGLE:
        visible = visible & (np.abs(z[:, 1]) < sensor.half_angle - VIEW_MARGIN_ANGLE)
    return visible


def _per_area(sensor: Sensor, p: Tracking) -> float:
    return p.clutter_rate / ((sensor.range_max - sensor.range_min) * 2 * sensor.half_angle)
