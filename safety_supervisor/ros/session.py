"""What exists between configure and cleanup: parameters, loop, publishers, subscriptions, services, recorder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.qos import QoSProfile
from std_msgs.msg import Empty, String, UInt8
from trajectory_msgs.msg import MultiDOFJointTrajectory
from visualization_msgs.msg import MarkerArray

from safety_supervisor import messages
from safety_supervisor.core.config import Config, ConfigError
from safety_supervisor.core.world import seconds
from safety_supervisor.ros import parameters
from safety_supervisor.ros.clock import TickClock
from safety_supervisor.ros.loop import Loop, Meter
from safety_supervisor.ros.outputs import OWN, Frames
from safety_supervisor.ros.parameters import Settings
from safety_supervisor.ros.recorder import Received, Recorder, default_folder
from safety_supervisor.ros.sources import Source
from safety_supervisor.ros.wiring import QUIET, Notes, events, look

COMMAND_QOS = QoSProfile(depth=5)
WAITING_PAUSE = 0.002
"""A late tick asks the middleware again after this time [s] for what has arrived."""
WAITING_BYTES_MAX, MESSAGE_BYTES = 256_000_000, 200
"""No more [bytes] waits for a tick, each message with so much beside its content: a clock may stand for hours."""


@dataclass
class Session:
    """One configured supervisor."""

    settings: Settings
    config: Config
    sources: tuple[Source, ...]
    armed: bool
    why_not: str
    clock: TickClock
    loop: Loop
    meter: Meter
    received: list[Received] = field(default_factory=list)
    """What came in since the last tick."""
    waiting: int = 0
    """How much that is [bytes]."""
    notes: Notes = field(default_factory=Notes)
    """What the connections of the inputs have to say."""
    held_since: int | None = None
    """Steady time since when only an old latch has held the mode [ns]."""
    trajectory: Any = None
    fallback: Any = None
    decision: Any = None
    markers: Any = None
    release: Any = None
    mrm: Any = None
    recorder: Recorder | None = None
    given_up: str = ""
    """Why there is no flight recorder any more."""
    tick_timer: Any = None
    subscriptions: list[Any] = field(default_factory=list)
    services: list[Any] = field(default_factory=list)

    @property
    def frames(self) -> Frames:
        """Frames that messages are stamped with."""
        return Frames(self.loop.frame, messages.body_frame(self.config))

    @property
    def reader(self) -> dict[str, Source]:
        """Source of each topic."""
        return {source.topic: source for source in self.sources}


def make_clock(node: Any) -> TickClock:
    """Return the clock of the ticks of a node."""
    clock = node.get_clock()
    return TickClock(lambda: int(clock.now().nanoseconds), time.monotonic_ns, lambda: bool(clock.ros_time_is_active))


def connect(node: Any, session: Session, active: Callable[[], bool]) -> None:
    """Make publishers and subscriptions; raises `ConfigError` for a topic that ROS does not allow."""
    # Offered to whoever wants to watch it; a subscriber that asks for no deadline is not bound by it.
    deadline = Duration(nanoseconds=round(session.config.timing.gate_timeout * 1e9))
    command = QoSProfile(depth=1, deadline=deadline)
    prefix = "~" if session.armed else "~/shadow"
    make = node.create_lifecycle_publisher
    session.trajectory = make(MultiDOFJointTrajectory, f"{prefix}/trajectory", command)
    session.fallback = make(MultiDOFJointTrajectory, f"{prefix}/fallback", command)
    session.decision = make(String, "~/decision", 10)
    session.markers = make(MarkerArray, "~/markers", 1)
    session.release = node.create_publisher(Empty, messages.RELEASE_TOPIC, COMMAND_QOS)
    session.mrm = node.create_publisher(UInt8, messages.MRM_TOPIC, COMMAND_QOS)
    for source in session.sources:
        try:
            made = node.create_subscription(
                source.message, source.topic, receiver(session, source, active), source.qos, raw=True,
                event_callbacks=events(session.notes, source),
            )  # fmt: skip
        except NameValidationException as error:
            why = " ".join(str(error).split())
            raise ConfigError(f"topic of {source.name} = {source.topic!r} is no name that ROS allows: {why}") from error
        session.subscriptions.append(made)


def disconnect(node: Any, session: Session) -> None:
    """Destroy all that `connect` and the node made for a session."""
    for publisher in filter(None, (session.trajectory, session.fallback, session.decision, session.markers)):
        node.destroy_lifecycle_publisher(publisher)
    for publisher in filter(None, (session.release, session.mrm)):
        node.destroy_publisher(publisher)
    for subscription in session.subscriptions:
        node.destroy_subscription(subscription)
    for service in session.services:
        node.destroy_service(service)
    if session.recorder is not None:
        session.recorder.close()


def receiver(session: Session, source: Source, active: Callable[[], bool]) -> Callable[[bytes], None]:
    """Return the callback of one input: it only notes the bytes and when they came; the tick reads them."""

    def receive(raw: bytes) -> None:
        if not active():
            return
        if len(raw) > source.bytes_max:  # it then counts as not received, which the tick notices as stale
            text = f"TOO_LONG: a message of {len(raw)} bytes, at most {source.bytes_max} are read"
            session.notes.happened(source.name, text)
            return
        session.waiting = (session.waiting if session.received else 0) + len(raw) + MESSAGE_BYTES
        if session.waiting > WAITING_BYTES_MAX:
            session.waiting -= len(raw) + MESSAGE_BYTES
            session.notes.happened(source.name, "UNREAD: no tick reads what comes, as when the clock stands")
            return
        now = session.clock.now()
        session.received.append(Received(source.topic, raw, now))
        session.meter.arrived(source.name, now)

    return receive


def take_waiting(session: Session) -> None:
    """Take in what has arrived but whose callback has not run, as after a time without the processor.

    A late tick would otherwise run before them and find inputs stale that are only unread. It waits until nothing more
    comes and nothing is overdue, one period at most; whatever is stale then has not been sent, or is lost.
    """
    end = time.monotonic() + session.config.timing.period
    while True:
        before = len(session.received)
        _take(session)
        if time.monotonic() >= end or (len(session.received) == before and not overdue(session)):
            return
        time.sleep(WAITING_PAUSE)


def _take(session: Session) -> None:
    for subscription in session.subscriptions:
        handle = subscription.handle
        with handle:
            while (taken := handle.take_message(subscription.msg_type, subscription.raw)) is not None:
                subscription.callback(taken[0])


def overdue(session: Session) -> list[str]:
    """Name the expected inputs that nothing was wrong with at the last tick and that would be stale now."""
    now, decision = session.clock.now(), session.loop.decision
    broken = {finding.source for finding in decision.health.findings} if decision else set()
    unread = {message.topic: message for message in session.received}
    found = []
    for source in session.sources:
        newest, heard = unread.get(source.topic), session.meter.messages.get(source.name)
        if not source.timeout or source.name in broken or heard is None:
            continue
        t = messages.stamp(source.read(newest.raw), newest.arrival) if newest else heard[1]
        if seconds(now - t) > source.timeout:
            found.append(source.name)
    return found


def look_at_publishers(node: Any, session: Session) -> None:
    """Note what is wrong with the publishers of the inputs, and whether somebody else commands too."""
    now = session.clock.now()
    ages = session.meter.ages(now)
    patience = max(QUIET, max(source.timeout for source in session.sources))
    quiet = {s.name for s in session.sources if ages.get(s.name, (0, math.inf))[1] > patience}
    found = look(node, session.sources, quiet)
    if (speakers := node.count_publishers(session.trajectory.topic_name)) > 1:
        found[OWN] = f"DUPLICATE: {speakers} nodes publish {session.trajectory.topic_name}, one of them is to go"
    session.notes.so(found)


def start_recorder(session: Session, log: Any) -> None:
    """Start the flight recorder; without it the supervisor works all the same, and says so."""
    settings = session.settings
    if not settings.recorder:
        return
    folder = Path(settings.recorder_folder).expanduser() if settings.recorder_folder else default_folder()
    try:
        session.recorder = Recorder(folder, settings.recorder_limit_mb * 1_000_000)
    except OSError as error:
        session.given_up = f"cannot start, {error}"
        log.error(f"no flight recorder: {error}")


def begin_recording(session: Session) -> None:
    """Begin a recorder session at an activation, with the state before the first tick."""
    if session.recorder is not None:
        text = parameters.certificate_text(session.settings) if session.config.certificate else ""
        session.recorder.begin(session.config, session.sources, session.armed, text)
        session.recorder.snapshot(session.loop.snapshot(None), session.clock.now())
