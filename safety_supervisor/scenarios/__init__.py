"""Simulated worlds with radar and ultrasonic models: the closed loop in which the supervisor must act."""
