"""What can be wrong with a fleet run that is not the fault of one recording, and which libraries it needs."""

from __future__ import annotations

import importlib.util


class FleetError(Exception):
    """A fleet run, or a question about one, that cannot go on; one line."""


def require(what: str, *libraries: str) -> None:
    """Raise `FleetError` in one line when a library of the extra `fleet` is not installed."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise FleetError(
                f"{what} needs the Python package {library!r}, which is not installed: "
                "pip install 'safety_supervisor[fleet]'"
            )
