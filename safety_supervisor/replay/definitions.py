"""Message definitions that a bag may need and that no default type store has, after their published .msg files."""

from __future__ import annotations

EXTRA = {
    "unique_identifier_msgs/msg/UUID": "uint8[16] uuid\n",
    "radar_msgs/msg/RadarReturn": """
float32 range
float32 azimuth
float32 elevation
float32 doppler_velocity
float32 amplitude
""",
    "radar_msgs/msg/RadarScan": "std_msgs/Header header\nradar_msgs/RadarReturn[] returns\n",
    "radar_msgs/msg/RadarTrack": """
uint16 NO_CLASSIFICATION=0
uint16 STATIC=1
uint16 DYNAMIC=2
unique_identifier_msgs/UUID uuid
geometry_msgs/Point position
geometry_msgs/Vector3 velocity
geometry_msgs/Vector3 acceleration
geometry_msgs/Vector3 size
uint16 classification
float32[6] position_covariance
float32[6] velocity_covariance
float32[6] acceleration_covariance
float32[6] size_covariance
""",
    "radar_msgs/msg/RadarTracks": "std_msgs/Header header\nradar_msgs/RadarTrack[] tracks\n",
    "autoware_planning_msgs/msg/TrajectoryPoint": """
builtin_interfaces/Duration time_from_start
geometry_msgs/Pose pose
float32 longitudinal_velocity_mps
float32 lateral_velocity_mps
float32 acceleration_mps2
float32 heading_rate_rps
float32 front_wheel_angle_rad
float32 rear_wheel_angle_rad
""",
    "autoware_planning_msgs/msg/Trajectory": """
std_msgs/Header header
autoware_planning_msgs/TrajectoryPoint[] points
""",
}
