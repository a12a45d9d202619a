"""Passes that run last, on the graph as a runtime will see it."""
