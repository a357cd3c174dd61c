"""From recorded shadow drives to the evidence for arming."""
