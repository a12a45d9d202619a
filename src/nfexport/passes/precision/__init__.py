"""Passes that lower the precision."""
