"""Campaigns: what the supervisor does when its inputs lie, on simulated worlds, as tables of evidence."""
