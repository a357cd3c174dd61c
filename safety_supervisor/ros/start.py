"""Entry points of the nodes: each imports its node when it is called, so that Ctrl-C meanwhile is no traceback."""

from __future__ import annotations

import importlib
import sys

INTERRUPTED = 130
"""Exit code after SIGINT, as shells count it."""


def supervisor_node() -> int:
    """Run the supervisor."""
    return _main("node")


def command_gate() -> int:
    """Run the command gate."""
    return _main("command_gate")


def twist_adapter() -> int:
    """Run the adapter of robot bases."""
    return _main("twist_adapter")


def autoware_adapter() -> int:
    """Run the adapter of Autoware."""
    return _main("autoware_adapter")


def _main(module: str) -> int:
    try:
        main = importlib.import_module(f"safety_supervisor.ros.{module}").main
    except KeyboardInterrupt:
        print(f"{module}: interrupted before it had started", file=sys.stderr)
        return INTERRUPTED
    except ImportError as error:
        print(f"{module}: {error}; is ROS 2 sourced, are the Python packages of setup.py installed?", file=sys.stderr)
        return 2
    return int(main())
