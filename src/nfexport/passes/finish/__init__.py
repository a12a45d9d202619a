"""Passes that run last: what a runtime will see."""
