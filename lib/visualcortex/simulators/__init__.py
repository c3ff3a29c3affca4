"""Simulated recordings whose mechanism is known."""
