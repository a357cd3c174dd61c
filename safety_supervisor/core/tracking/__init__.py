"""Estimation: from radar detections, ultrasonic pings and ego's odometry to objects with uncertainty and existence."""

from .ego import EgoHistory, SensorPose, sensor_pose
from .monitors import Monitors, findings, watched
from .radar import TrackerState, track_radar
from .ultrasonic import UltrasonicState, track_ultrasonics

__all__ = [
    "EgoHistory", "Monitors", "SensorPose", "TrackerState", "UltrasonicState", "findings", "sensor_pose", "track_radar",
    "track_ultrasonics", "watched",
]  # fmt: skip
