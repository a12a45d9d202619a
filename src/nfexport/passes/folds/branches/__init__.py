"""The parts of merge-branches: linear maps of an image, and how sums of them are read from a graph."""
