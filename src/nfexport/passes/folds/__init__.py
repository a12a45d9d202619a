"""Passes that fold constants into weights."""
