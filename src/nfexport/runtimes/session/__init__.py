"""What the runtimes share: their declarations, the sessions, and how they are found."""
