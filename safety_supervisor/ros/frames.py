"""What the node tells the flight recorder's process, over a pipe: length-prefixed frames, no objects.

A frame is one byte for its kind, four for the length of its payload, eight for its time, then the payload:

    SESSION   JSON: topics, folder, limits; the process forgets what came before
    SNAPSHOT  text of `snapshot.to_text`, time of the tick: recordings begin at one
    MESSAGE   two bytes with the number of the topic, then the message as it came in; time of arrival
    DECISION  JSON of the decision, time of the tick; it consumed the messages since the decision before
    TRIGGER   why a recording is wanted
    GAP       something was lost here: what came before does not lead to what comes after
    END       the session ends in order
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

HEAD = struct.Struct("<cIq")
TOPIC = struct.Struct("<H")
PAYLOAD_MAX = 64_000_000
SESSION, SNAPSHOT, MESSAGE, DECISION, TRIGGER, GAP, END = b"S", b"K", b"M", b"D", b"T", b"G", b"E"

Frame = tuple[bytes, int, bytes]
"""Kind, time [ns], payload."""


def frame(kind: bytes, t: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    return HEAD.pack(kind, len(payload), t) + payload


def message(topic: int, arrival: int, raw: bytes) -> bytes:
    """Return the frame of one message."""
    return HEAD.pack(MESSAGE, TOPIC.size + len(raw), arrival) + TOPIC.pack(topic) + raw


def read(stream: BinaryIO) -> Iterator[Frame]:
    """Yield frames until the stream ends; a frame that is cut off ends it too."""
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        kind, size, t = HEAD.unpack(head)
        if size > PAYLOAD_MAX:
            return
        payload = stream.read(size)
        if len(payload) < size:
            return
        yield kind, t, payload
