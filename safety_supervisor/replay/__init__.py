"""Replay of recordings: the same `step` as in the vehicle, on a bag, without ROS."""
