"""The parts of fold-scales: how constant factors move through a graph."""
