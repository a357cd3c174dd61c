"""Estimation: from radar detections, ultrasonic pings and ego's odometry to objects with uncertainty and existence."""

from .drift import Drift, drifted
from .ego import EgoHistory, SensorPose, sensor_pose
from .monitors import Monitors, findings, vanished, watched
from .radar import TrackerState, since_heard, track_radar
from .returns import Returns
from .silence import Ahead, ahead_of, unheard
from .ultrasonic import UltrasonicState, track_ultrasonics

__all__ = [
    "Ahead", "Drift", "EgoHistory", "Monitors", "Returns", "SensorPose", "TrackerState", "UltrasonicState", "ahead_of",
    "drifted", "findings", "sensor_pose", "since_heard", "track_radar", "track_ultrasonics", "unheard", "vanished",
    "watched",
]  # fmt: skip
