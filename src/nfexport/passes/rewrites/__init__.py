"""Passes that write the graph in a form that runs faster."""
