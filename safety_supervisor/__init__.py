"""Safety supervisor: an independent radar and ultrasonic safety layer around a vision-only driving policy."""

__version__ = "0.1.0"
