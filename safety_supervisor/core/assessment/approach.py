"""Who comes towards ego: how much of an approach the worst case has to count on.

What is declared here of objects, beside the claims of proofs/approach.py that hold for the parameters used:
  who may as well stand (its speed is not known from 0) keeps what it may have, it does not begin to charge;
  who crosses the way goes on or stops, it does not turn to come along it.
"""

from __future__ import annotations

import numpy as np

from safety_supervisor.core.assessment.bodies import LENGTH
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.situation import Situation, ego_speed
from safety_supervisor.core.config import Config
from safety_supervisor.core.foresight import STAYS
from safety_supervisor.core.geometry import Contacts
from safety_supervisor.core.motion import oncoming_distance
from safety_supervisor.core.world import Bools, Floats


def may_stand(met: Contacts, speed: Floats, config: Config) -> Bools:
    """Tell who (N,) is not known to move along the path: 0 is inside the interval of its speed, whose worst end is
    `speed` (N,) [m/s], and that is slower than what moves.

    Its worst end is what the noise leaves open, so that to double it would count the noise once more.
    """
    upper = 2 * met.along - speed
    return np.asarray((upper >= 0) & (speed < 0) & (speed > -config.tracking.moving_speed))


def out_of_the_way(
    o: Objects, met: Contacts, gap: Floats, speed: Floats, situation: Situation, config: Config
) -> tuple[Floats, Floats]:
    """Return worst `gap` [m] and object `speed` [m/s] (N,) with who surely crosses before ego as standing, nearer by
    what it comes until it has left the way.

    So ego can stop in front of it should it stop there. Surely: at the worst end of what is known, its whole body is
    out of the corridor before both could meet. Who may stay in the way (`foresight.STAYS`) comes along it.
    """
    e, c = situation.envelope, config.corridor
    rows = met.hit & (met.along < -config.tracking.moving_speed) & ~o.near & o.sound
    rows &= np.abs(met.sideways) > e.sigma_k * met.sideways_sigma - STAYS * speed
    if not np.count_nonzero(rows):
        return gap, speed
    # What is seen of a body that crosses may be its front: the rest, a car's length of it, has to get out as well.
    across = np.abs(met.sideways[rows]) - e.sigma_k * met.sideways_sigma[rows]
    edge = config.vehicle.width / 2 + np.maximum(o.slack, c.lateral_sigma_k * met.lateral_sigma)[rows] + LENGTH
    edge = edge + e.sigma_k * met.lateral_sigma[rows]
    time = np.maximum(edge - np.sign(met.sideways[rows]) * met.offset[rows], 0.0) / across + met.age[rows]
    coming = oncoming_distance(-speed[rows], time, e.object_acceleration_max)
    v, a = ego_speed(situation, config), situation.acceleration
    left = gap[rows] - coming
    surely = left > v * time + a * time * time / 2
    gap, speed, rows = gap.copy(), speed.copy(), rows.nonzero()[0][surely]
    gap[rows], speed[rows] = left[surely], 0.0
    return gap, speed
