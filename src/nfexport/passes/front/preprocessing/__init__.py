"""What the passes in front of a network share."""
