"""What a late tick reads before it decides, on a middleware and a clock that the test winds."""

from __future__ import annotations

from types import SimpleNamespace as Ns

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Range

from safety_supervisor.core.config import from_mapping
from safety_supervisor.core.world import Code, Finding, Health
from safety_supervisor.ros import parameters, session
from safety_supervisor.ros.loop import Loop, Meter
from safety_supervisor.ros.sources import sources
from safety_supervisor.ros.wiring import Notes

SECOND = 1_000_000_000
SENSORS = {"left": {"kind": "ultrasonic", "topic": "us/left"}}
CONFIG = from_mapping({"sensors": SENSORS, "inputs": {"plan": ""}})
PAUSE = 1.2
"""For this long [s] the node had no processor."""


class Machine:
    """Steady time that only sleeping moves, and subscriptions that hand a message over when it has come that far."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(session, "time", Ns(monotonic=lambda: self.now, sleep=self.sleep))
        settings, _ = parameters.load({"vehicle_file": "", "allow_unproved": True})
        self.sources = {source.name: source for source in sources(CONFIG, settings)}
        self.waiting = {name: [] for name in self.sources}
        loop, meter = Loop(CONFIG), Meter(CONFIG)
        loop.decision = Ns(health=Health())
        self.session = Ns(
            config=CONFIG, sources=tuple(self.sources.values()), received=[], waiting=0, notes=Notes(), loop=loop,
            meter=meter, clock=Ns(now=lambda: round(self.now * SECOND)),
        )  # fmt: skip
        self.session.subscriptions = [self.subscription(source) for source in self.sources.values()]
        for name in ("odometry", "left"):
            meter.arrived(name, round(self.now * SECOND))
        self.now += PAUSE

    def sleep(self, duration):
        self.now += duration

    def subscription(self, source):
        class Handle:
            def __enter__(handle):  # noqa: N805
                return handle

            def __exit__(handle, *error):  # noqa: N805
                return None

            def take_message(handle, kind, raw):  # noqa: N805
                queue = self.waiting[source.name]
                return (queue.pop(0)[1], None) if queue and queue[0][0] <= self.now else None

        return Ns(
            handle=Handle(), msg_type=source.message, raw=True,
            callback=session.receiver(self.session, source, lambda: True),
        )  # fmt: skip

    def send(self, name, after, age):
        """Let a message of this age [s] come through `after` [s] from now."""
        message = {"odometry": Odometry, "left": Range}[name]()
        sec, rest = divmod(round((self.now + after - age) * SECOND), SECOND)
        message.header.stamp.sec, message.header.stamp.nanosec = sec, rest
        self.waiting[name].append((self.now + after, serialize_message(message)))

    def take(self):
        """Read what waits; returns how long [s] that took."""
        before = self.now
        session.take_waiting(self.session)
        return self.now - before

    @property
    def topics(self):
        return [message.topic for message in self.session.received]


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_what_comes_through_bit_by_bit_is_waited_for(machine):
    machine.send("left", 0.0, 0.05)
    machine.send("odometry", 0.013, 0.02)  # long after the first time that nothing more comes
    assert 0.01 < machine.take() < 0.02
    assert sorted(machine.topics) == ["us/left", "vehicle/odometry"]
    assert session.overdue(machine.session) == []


def test_old_messages_are_not_what_is_waited_for(machine):
    machine.send("left", 0.0, 0.05)
    for i in range(5):
        machine.send("odometry", 0.0, PAUSE - 0.02 * i)
    machine.send("odometry", 0.021, 0.0)
    assert 0.02 < machine.take() < 0.03
    assert len(machine.topics) == 7


def test_it_waits_a_period_at_most_for_what_does_not_come(machine):
    machine.send("left", 0.0, 0.05)
    assert machine.take() == pytest.approx(CONFIG.timing.period, abs=session.WAITING_PAUSE)
    assert machine.topics == ["us/left"]
    assert session.overdue(machine.session) == ["odometry"]


def test_it_does_not_wait_for_an_input_that_something_was_wrong_with_before(machine):
    machine.session.loop.decision.health = Health(
        findings=(Finding(Code.ODOMETRY_STALE, "odometry", "odometry is old"),)
    )
    machine.send("left", 0.0, 0.05)
    assert machine.take() <= session.WAITING_PAUSE


def test_it_does_not_wait_when_the_pause_has_made_nothing_stale(machine):
    machine.now -= PAUSE - 0.03
    assert machine.take() == 0.0
    assert machine.topics == []


def test_an_input_that_never_spoke_is_not_waited_for(machine):
    del machine.session.meter.messages["left"]
    machine.send("odometry", 0.0, 0.0)
    assert machine.take() <= session.WAITING_PAUSE


def test_only_expected_inputs_have_a_timeout(machine):
    timed = {name: source.timeout for name, source in machine.sources.items() if source.timeout}
    assert timed == {"odometry": CONFIG.health.odometry_timeout, "left": CONFIG.health.ultrasonic_timeout}


def test_what_no_tick_reads_is_bounded_in_bytes(machine, monkeypatch):
    """The clock of the ticks may stand for hours while sensors go on."""
    monkeypatch.setattr(session, "WAITING_BYTES_MAX", 1000)
    receive = session.receiver(machine.session, machine.sources["left"], lambda: True)
    for _ in range(10):
        receive(bytes(100))
    assert len(machine.session.received) == 3, "300 bytes each, with what the message itself takes"
    assert "UNREAD" in machine.session.notes.texts()["left"]
    machine.session.received.clear()  # a tick
    receive(bytes(100))
    assert len(machine.session.received) == 1
