"""The same scenes through Stone Soup, as a yardstick: EKF, global nearest neighbour, two-stage initiation.

Stone Soup is optional (`pip install stonesoup`); the benchmark imports this module only for `--peer stonesoup`. Its
model of bearing, range and range rate has no analytic Jacobian and cannot be inverted, so both are given here, and a
pre-gate leaves out pairs far outside its own gate. All three make it faster; the pre-gate changes no track.
"""

from __future__ import annotations

import datetime
import time
from typing import Any

import numpy as np
from stonesoup.base import Property
from stonesoup.dataassociator.neighbour import GNNWith2DAssignment
from stonesoup.deleter.time import UpdateTimeStepsDeleter
from stonesoup.hypothesiser.distance import DistanceHypothesiser
from stonesoup.initiator.base import Initiator
from stonesoup.initiator.simple import MultiMeasurementInitiator
from stonesoup.measures import Mahalanobis
from stonesoup.models.measurement.nonlinear import CartesianToBearingRangeRate2D
from stonesoup.models.transition.linear import CombinedLinearGaussianTransitionModel, ConstantVelocity
from stonesoup.predictor.kalman import KalmanPredictor
from stonesoup.types.detection import Detection
from stonesoup.types.state import GaussianState
from stonesoup.types.track import Track
from stonesoup.types.update import GaussianStateUpdate, Update
from stonesoup.updater.kalman import ExtendedKalmanUpdater

from safety_supervisor.core.tracking import kalman
from safety_supervisor.core.tracking.ego import SensorPose

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
GATE = 16.266**0.5
"""0.999 of chi-square with three degrees of freedom."""
REACH = 20.0
"""Pairs farther apart than this [m] are not looked at; no gate of these scenes is wider."""
ORDER = [0, 2, 1, 3]
"""From x, y, vx, vy to the x, vx, y, vy of Stone Soup and back."""
PSD, CROSS_SPEED, MIN_POINTS, LOSE_TENTATIVE, LOSE = 2.0, 6.0, 3, 3, 10


class Radar(CartesianToBearingRangeRate2D):
    """With the Jacobian in closed form."""

    def jacobian(self, state: Any, **_: Any) -> Any:
        """Return d(bearing, range, range rate) / d(x, vx, y, vy)."""
        x = np.asarray(state.state_vector, float).ravel()
        offset = x[[0, 2]] - np.asarray(self.translation_offset, float).ravel()
        velocity = x[[1, 3]] - np.asarray(self.velocity, float).ravel()
        distance = float(np.hypot(*offset))
        sight = offset / distance
        H = np.zeros((3, 4))
        H[0, [0, 2]] = np.array([-sight[1], sight[0]]) / distance
        H[1, [0, 2]] = H[2, [1, 3]] = sight
        H[2, [0, 2]] = (velocity - (velocity @ sight) * sight) / distance
        return H


class Near(DistanceHypothesiser):
    """With a coarse gate in front."""

    def hypothesise(self, track: Any, detections: Any, timestamp: Any, **kwargs: Any) -> Any:
        """Return the hypotheses of one track among the detections near its prediction."""
        x = np.asarray(self.predictor.predict(track, timestamp=timestamp).state_vector, float).ravel()
        near = {d for d in detections if np.hypot(*(d.metadata["place"] - x[[0, 2]])) < REACH}
        return super().hypothesise(track, near, timestamp, **kwargs)


class OnePoint(Initiator):
    """A track from each detection: Doppler along the line of sight, a prior across it."""

    pose: Any = Property(default=None)

    def initiate(self, detections: Any, timestamp: Any, **_: Any) -> Any:
        """Return the new tracks."""
        tracks = set()
        for d in sorted(detections, key=lambda d: d.metadata["row"]):
            z = np.array([[float(d.state_vector[i, 0]) for i in (1, 0, 2)]])
            variance = np.diag(d.measurement_model.noise_covar)[[1, 0, 2]][None]
            state, cov = kalman.born(z, variance, self.pose, CROSS_SPEED)
            hypothesis = _Single(d)
            update = GaussianStateUpdate(
                state[0][ORDER][:, None], cov[0][np.ix_(ORDER, ORDER)], hypothesis, timestamp=timestamp)  # fmt: skip
            tracks.add(Track([update]))
        return tracks


class _Single:
    """Stands for the hypothesis of a birth."""

    def __init__(self, measurement: Any) -> None:
        self.measurement = measurement


class StoneSoup:
    """The tracker, scan by scan."""

    def __init__(self) -> None:
        predictor = KalmanPredictor(CombinedLinearGaussianTransitionModel([ConstantVelocity(PSD)] * 2))
        self.updater = ExtendedKalmanUpdater(measurement_model=None)
        near = Near(predictor, self.updater, Mahalanobis(), missed_distance=GATE)
        self.associator = GNNWith2DAssignment(near)
        self.births = OnePoint()
        prior = GaussianState(np.zeros((4, 1)), np.eye(4))
        self.initiator = MultiMeasurementInitiator(
            prior, deleter=UpdateTimeStepsDeleter(LOSE_TENTATIVE), data_associator=self.associator,
            updater=self.updater, min_points=MIN_POINTS, initiator=self.births)  # fmt: skip
        self.deleter = UpdateTimeStepsDeleter(LOSE)
        self.tracks: set[Track] = set()

    def step(self, t: float, z: Any, variance: Any, pose: SensorPose) -> None:
        """Process one scan: z (N, 3) range, azimuth, range rate."""
        stamp = START + datetime.timedelta(seconds=t)
        self.births.pose = pose
        detections = {_detection(i, z[i], variance[i], pose, stamp) for i in range(len(z))}
        used = set()
        for track, hypothesis in self.associator.associate(self.tracks, detections, stamp).items():
            if hypothesis:
                track.append(self.updater.update(hypothesis))
                used.add(hypothesis.measurement)
            else:
                track.append(hypothesis.prediction)
        self.tracks -= self.deleter.delete_tracks(self.tracks)
        self.tracks |= self.initiator.initiate(detections - used, stamp)


def _detection(row: int, z: Any, variance: Any, pose: SensorPose, stamp: Any) -> Detection:
    model = Radar(
        ndim_state=4, mapping=(0, 2), velocity_mapping=(1, 3), noise_covar=np.diag(variance[[1, 0, 2]]),
        translation_offset=np.array([[pose.x], [pose.y]]), velocity=np.array([[pose.vx], [pose.vy]]),
        rotation_offset=np.array([[0.0], [0.0], [pose.yaw]]))  # fmt: skip
    bearing = z[1] + pose.yaw
    place = np.array([pose.x + z[0] * np.cos(bearing), pose.y + z[0] * np.sin(bearing)])
    vector = Radar._typed_vector()
    vector = vector.astype(object)
    vector[:, 0] = [vector[0, 0].__class__(z[1]), z[0], z[2]]
    return Detection(vector, timestamp=stamp, measurement_model=model, metadata={"place": place, "row": row})


def run(scans: list[Any]) -> tuple[dict[str, Any], float]:
    """Return the rows of the confirmed tracks over all scans, and the CPU time per scan [s]."""
    tracker, numbers, rows, spent = StoneSoup(), {}, [], 0.0
    for k, (t, z, variance, pose) in enumerate(scans):
        started = time.process_time()
        tracker.step(t, z, variance, pose)
        spent += time.process_time() - started
        for track in tracker.tracks:
            number = numbers.setdefault(track.id, len(numbers) + 1)
            x = np.asarray(track.state_vector, float).ravel()[ORDER]
            rows.append((k, number, x, np.asarray(track.covar, float)[np.ix_(ORDER, ORDER)], _hits(track)))
    columns = list(zip(*sorted(rows, key=lambda r: r[:2]), strict=True)) or [[]] * 5
    state = np.array(columns[2]).reshape(-1, 4)
    return {
        "scan": np.array(columns[0], np.int64), "id": np.array(columns[1], np.int64), "x": state[:, 0],
        "y": state[:, 1], "vx": state[:, 2], "vy": state[:, 3], "cov": np.array(columns[3]).reshape(-1, 4, 4),
        "existence": np.ones(len(state)), "hits": np.array(columns[4], np.int64),
    }, spent / max(len(scans), 1)  # fmt: skip


def _hits(track: Track) -> int:
    return sum(isinstance(s, Update) for s in track[-MIN_POINTS - 5 :])
