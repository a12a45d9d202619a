"""The comparison of a file with what surgery made of it."""
