"""Passes for the opset and the runtimes that read it."""
