"""Passes in front of the network: what happens to an image before it enters."""
