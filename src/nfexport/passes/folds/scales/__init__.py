"""How constant factors move through a graph: the parts of fold-scales."""
