"""A replay as an MCAP file with Foxglove schemas: tracks, corridor, decision and scene."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision
from safety_supervisor.replay.foxglove_scene import Channels, require_foxglove
from safety_supervisor.replay.tables import TableError


class McapOut:
    """Writes decisions as they are made; the file appears under its name only when all are there."""

    def __init__(self, path: Path, config: Config) -> None:
        require_foxglove("--mcap")
        if path.is_dir():
            raise TableError(f"--mcap {path}: is a folder, expected the name of a file")
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._config = config
        self._writer: Any = None
        self._channels: Channels | None = None

    def __enter__(self) -> McapOut:
        import foxglove

        self._path.parent.mkdir(parents=True, exist_ok=True)
        context = foxglove.Context()
        self._writer = foxglove.open_mcap(self._part, allow_overwrite=True, context=context)
        self._channels = Channels(context, self._config)
        return self

    def add(self, decision: Decision) -> None:
        """Write one decision."""
        assert self._channels is not None
        self._channels.log(decision)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                os.replace(self._part, self._path)
        finally:
            self._part.unlink(missing_ok=True)
