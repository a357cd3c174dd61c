"""The pure, deterministic core: no ROS, no solver, no I/O, no clock. Read it bottom up, see docs/architecture.md."""
