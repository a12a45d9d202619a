"""From image files to the tensor that a file takes, and the names of its classes: Pillow and numpy, no torch."""
