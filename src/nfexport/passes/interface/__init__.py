"""Passes that change inputs and outputs."""
