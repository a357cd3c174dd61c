"""What is wrong with the connections of the inputs: who publishes what, and what does not come through."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rclpy.qos import ReliabilityPolicy

from safety_supervisor.ros.sources import SHARED, Source

NOTED_FOR = 5.0
"""Time [s] for which a thing that happened stays in the diagnostics."""
QUIET = 1.0
"""Time [s] without a message after which it is looked up who publishes an input."""


class Notes:
    """What connections have to say, by source: what happened lately, and what is so."""

    def __init__(self) -> None:
        self._happened: dict[str, tuple[float, str]] = {}
        self._so: dict[str, str] = {}

    def happened(self, name: str, text: str) -> None:
        """Something happened to a source just now; it is said for a while."""
        self._happened[name] = time.monotonic(), text

    def so(self, found: dict[str, str]) -> None:
        """This is what is wrong now, in place of what was wrong before."""
        self._so = found

    def clear(self) -> None:
        """Forget everything."""
        self._happened.clear()
        self._so.clear()

    def texts(self) -> dict[str, str]:
        """Return what is to be said, by source."""
        since = time.monotonic() - NOTED_FOR
        said = {name: text for name, (then, text) in self._happened.items() if then >= since}
        return said | {name: f"{text}; {said[name]}" if name in said else text for name, text in self._so.items()}


def events(notes: Notes, source: Source) -> Any:
    """Return what middleware events of a subscription do: they name the input in the diagnostics."""
    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # humble
        from rclpy.qos_event import SubscriptionEventCallbacks

    def missed(event: Any) -> None:
        text = f"DEADLINE: nothing for more than {source.deadline:g} s, {event.total_count} times"
        notes.happened(source.name, text)

    def incompatible(event: Any) -> None:
        notes.happened(source.name, quality(source))

    return SubscriptionEventCallbacks(
        deadline=missed if source.deadline > 0.0 else None, incompatible_qos=incompatible, use_default_callbacks=False
    )


def quality(source: Source) -> str:
    """Say that a publisher offers less than an input asks for."""
    asked = "reliable delivery" if source.reliable else f"a deadline of {source.deadline:g} s"
    return f"QOS: a publisher does not offer {asked}, its messages do not arrive"


def look(node: Any, sources: Iterable[Source], quiet: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with the publishers of the inputs, by source; those in `quiet` say nothing at present."""
    quiet, found = set(quiet), {}
    for source in sources:
        topic = node.resolve_topic_name(source.topic)  # the graph knows nothing of remappings
        count = node.count_publishers(topic)
        texts = []
        if count > 1 and source.name not in SHARED:  # what it says then changes from message to message
            texts.append(f"DUPLICATE: {count} publishers on {topic}")
        if source.name in quiet:
            texts += silence(source, topic, node)
        if texts:
            found[source.name] = "; ".join(texts)
    return found


def silence(source: Source, topic: str, node: Any) -> Iterator[str]:
    """Say why nothing comes on a topic, as far as the graph of nodes tells."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers and source.expected:
        yield f"NO_PUBLISHER: nobody publishes {topic}"
    for publisher in publishers:
        by = f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"
        if publisher.topic_type != source.type_name:
            yield f"TYPE: {by} publishes {topic} as {publisher.topic_type}, expected {source.type_name}"
        elif source.reliable and publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT:
            yield quality(source)
