"""What lowering the precision has to know of a graph."""
