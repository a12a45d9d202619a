"""What rewrites of convolutions share."""
