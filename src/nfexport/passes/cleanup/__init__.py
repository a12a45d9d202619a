"""Passes that make constants and shapes explicit for the later stages."""
