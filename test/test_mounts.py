"""Mounts from static transforms: checked against the vehicle file, or taken over; what is missing is named."""

from __future__ import annotations

import math
from types import SimpleNamespace as Ns

import pytest

from safety_supervisor import mounts
from safety_supervisor.core.config import Config, ConfigError, Sensor

RADAR = Sensor(topic="radar", frame="radar_frame", x=3.6, y=0.5, yaw=0.3)
CONFIG = Config(sensors=(("radar", RADAR), ("fixed", Sensor(topic="other"))))


def transform(parent, child, x=0.0, y=0.0, yaw=0.0, **rotation):
    q = Ns(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    return Ns(
        header=Ns(frame_id=parent), child_frame_id=child,
        transform=Ns(translation=Ns(x=x, y=y, z=0.0), rotation=Ns(**{**vars(q), **rotation})),
    )  # fmt: skip


CHAIN = [transform("bumper", "radar_frame", 0.1, 0.0, 0.3), transform("base_link", "/bumper", 3.5, 0.5)]


def test_a_chain_of_transforms_is_followed_in_any_order_and_direction():
    assert mounts.poses(CHAIN, "base_link")["radar_frame"] == pytest.approx((3.6, 0.5, 0.3))
    turned = [transform("radar_frame", "base_link", 2.0, 0.0, math.pi / 2)]
    assert mounts.poses(turned, "base_link")["radar_frame"] == pytest.approx((0.0, 2.0, -math.pi / 2))


def test_a_transform_that_is_no_rotation_or_not_finite_ties_nothing():
    broken = [transform("base_link", "a", z=0.0, w=0.0), transform("base_link", "b", math.nan)]
    assert mounts.poses(broken, "base_link") == {}


def test_mounts_that_agree_pass_the_check_and_others_are_named():
    found = mounts.poses(CHAIN, "base_link")
    mounts.check(CONFIG, found)
    with pytest.raises(ConfigError, match=r"mount \(3.6, 0.5, 0.3\) is not that of the frame radar_frame"):
        mounts.check(CONFIG, {"radar_frame": (3.6, 0.53, 0.3)})
    with pytest.raises(ConfigError, match=r"sensors\.radar: mount"):
        mounts.check(CONFIG, {"radar_frame": (3.6, 0.5, 0.3 + 0.02)})


def test_a_lost_transform_is_named():
    for use in (mounts.check, mounts.placed):
        with pytest.raises(ConfigError, match="radar_frame': no transform ties it"):
            use(CONFIG, {})


def test_taking_them_over_makes_another_parameter_set():
    made = mounts.placed(CONFIG, {"radar_frame": (3.0, -0.4, -0.2)})
    assert (dict(made.sensors)["radar"].x, dict(made.sensors)["radar"].yaw) == (3.0, -0.2)
    assert dict(made.sensors)["fixed"] == dict(CONFIG.sensors)["fixed"]
    assert made.digest != CONFIG.digest


def test_a_mount_that_no_vehicle_has_is_refused():
    with pytest.raises(ConfigError, match=r"transforms: sensors\.radar\.x = 99"):
        mounts.placed(CONFIG, {"radar_frame": (99.0, 0.0, 0.0)})
