"""Passes that make constants and shapes known, which the others ask for."""
