"""Simulated worlds with radar and ultrasonic sensor models: the closed loop in which the supervisor must act."""
