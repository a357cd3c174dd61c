"""The log of a drive: one line for each change of the decision, and one a second; the evidence for arming.

JSON lines. The first names vehicle, parameters, certificate and code; each other one covers the ticks since the line
before: `since` and `t` [ns], `ticks`, `distance_m`, the mode and first reason that held in them, the smallest margin,
and the recording that shows the moment, if one was made. docs/formats.md has every key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
EVERY = 1_000_000_000
"""Longest time that a line covers [ns]."""
GAP = 1_000_000_000
"""A longer step between ticks is no driving time [ns]."""


class DriveLog:
    """Writes the log as decisions come in, up to a limit of bytes."""

    def __init__(self, path: Path, session: Mapping[str, Any], limit: int) -> None:
        self.path = path
        self._limit = limit
        self._file = path.open("x", encoding="utf-8")
        self._held: dict[str, Any] | None = None
        self._then: int | None = None
        keys = ("vehicle", "armed", "parameters", "certificate_hash", "core", "version")
        self._write({"schema": SCHEMA, **{key: session[key] for key in keys}})

    def add(self, t: int, decision: Mapping[str, Any], recording: str | None) -> None:
        """Take the decision of one tick."""
        told = self._told(decision)
        step = t - self._then if self._then is not None else 0
        lived = step if 0 < step <= GAP else 0
        self._then = t
        held = self._held
        if held and (any(held[key] != told[key] for key in told) or t - held["since"] >= EVERY or t < held["t"]):
            self._line()
            held = None
        if held is None:
            held = self._held = {"since": t - lived, "t": t, "ticks": 0, "distance_m": 0.0, "margin_m": None,
                                 **told, "text": _text(decision), "recording": recording}  # fmt: skip
        speed = (decision.get("ego") or {}).get("speed") or 0.0
        margin = decision.get("margin_m")
        held["t"], held["ticks"], held["speed"] = t, held["ticks"] + 1, speed
        held["distance_m"] += abs(speed) * lived / 1e9
        held["recording"] = held["recording"] or recording
        if margin is not None and (held["margin_m"] is None or margin < held["margin_m"]):
            held["margin_m"] = margin

    def incident(self, reason: str, recording: str) -> None:
        """Note that a recording was begun."""
        if self._held is not None:
            self._held["recording"] = recording
        self._write({"incident": reason, "recording": recording})

    def close(self) -> None:
        """Write what is left."""
        self._line()
        self._file.close()

    def _told(self, decision: Mapping[str, Any]) -> dict[str, Any]:
        reasons = decision.get("reasons") or [{}]
        return {
            "mode": decision.get("mode"),
            "driver": bool(decision.get("driver")),
            "severity": (decision.get("health") or {}).get("severity"),
            "code": reasons[0].get("code"),
            "track": reasons[0].get("track"),
        }

    def _line(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held["distance_m"] = round(held["distance_m"], 3)
            self._write(held)

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._file.closed or self._file.tell() > self._limit:
            return
        clean = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
        self._file.write(json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
        self._file.flush()


def _text(decision: Mapping[str, Any]) -> str:
    reasons = decision.get("reasons") or [{}]
    return str(reasons[0].get("text", ""))[:300]
