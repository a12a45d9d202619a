"""Code shared by the preprocessing passes in front of a network."""
