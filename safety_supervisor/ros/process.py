"""What every node process of this package shares: executor, signals, spin loop, a safe lifecycle service."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Protocol

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.signals import SignalHandlerOptions

SPIN_TIMEOUT = 0.1
"""Longest wait [s] for a callback; a signal is noticed within it."""
FAILURES_MAX = 20
"""Exceptions that escape from callbacks in a row before the process ends: silence, so downstream stops."""
ACK_TIMEOUT = 0.2
"""Longest wait [s] for the last message to be acknowledged."""


class Leaving(Protocol):
    """A node that can say good-bye."""

    def farewell(self) -> None: ...

    def get_logger(self) -> Any: ...

    def destroy_node(self) -> Any: ...


class StopRequest:
    """Becomes true on SIGINT or SIGTERM. rclpy's own handlers tear the context down within a callback."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __bool__(self) -> bool:
        return self.asked

    @staticmethod
    def leave() -> None:
        """Nothing is left to stop; at Python's end a second signal, as `ros2 launch` sends it, would kill."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def run(build: Callable[[], Leaving], args: Sequence[str] | None = None) -> int:
    """Run one node until a signal; return the exit code: 0 after a signal, 1 failed, 2 for bad arguments."""
    stop = StopRequest()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = build()
    except Exception as error:  # rclpy has no common base class for what a bad file or name raises
        print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = make_executor(node)
    code = 1
    try:
        code = spin(executor, node, stop)
    finally:
        node.farewell()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        stop.leave()
    return code


def make_executor(node: Any) -> Any:
    """Return the events executor where rclpy has a working one, else the single-threaded one."""
    executor: Any = None
    try:
        from rclpy.experimental import EventsExecutor  # absent in humble

        executor = EventsExecutor()
        executor.add_node(node)
        if runs_timers(executor, node):
            return executor
        why = "it runs nothing"
        executor.remove_node(node)
    except Exception as error:  # whatever an experimental class does, the proven one remains
        why = type(error).__name__
    node.get_logger().info(f"no events executor ({why}), using the single-threaded one")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    return executor


def runs_timers(executor: Any, node: Any) -> bool:
    """Tell whether a timer of the node is called within a second."""
    called: list[bool] = []
    timer = node.create_timer(0.001, lambda: called.append(True), clock=Clock(clock_type=ClockType.STEADY_TIME))
    end = time.monotonic() + 1.0
    while not called and time.monotonic() < end:
        executor.spin_once(SPIN_TIMEOUT)
    node.destroy_timer(timer)
    return bool(called)


def spin(executor: Any, node: Leaving, stop: StopRequest) -> int:
    """Run callbacks until asked to stop. `spin()` of the events executor runs nothing in some releases."""
    failures = 0
    while not stop:
        try:
            executor.spin_once(SPIN_TIMEOUT)
            failures = 0
        except ExternalShutdownException:
            return 0
        except Exception as error:  # a callback of rclpy itself: parameter, lifecycle and clock services
            failures += 1
            node.get_logger().error(f"callback failed: {type(error).__name__}: {error}")
            if failures >= FAILURES_MAX:
                return 1
    return 0


def guard_change_state(node: LifecycleNode) -> None:
    """Answer an illegal lifecycle request with success = false; it would kill the node (ros2/rclpy#1209)."""
    service = getattr(node, "_service_change_state", None)
    if service is None:
        node.get_logger().warning("change_state is hidden in this rclpy: illegal requests are not guarded")
        return
    inner = service.callback

    def guarded(request: Any, response: Any) -> Any:
        try:
            return inner(request, response)
        except Exception as error:  # RCLError, a different class from one release to the next
            asked = request.transition.label or request.transition.id
            node.get_logger().error(f"transition {asked} refused: {' '.join(str(error).split())}")
            response.success = False
            return response

    service.callback = guarded


def connections(heard: Sequence[Any], said: Sequence[Any]) -> str:
    """Say what a node listens to and publishes, by the names that remapping has left."""
    names = [", ".join(sorted(str(x.topic_name) for x in those)) for those in (heard, said)]
    return f"listens to {names[0]}; publishes {names[1]}"


def flush(publisher: Any) -> None:
    """Wait a moment until the last message of a publisher has arrived."""
    publisher.wait_for_all_acked(Duration(seconds=ACK_TIMEOUT))
