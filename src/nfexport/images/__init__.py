"""From picture files to the tensors that a file takes, and class labels: Pillow and numpy, without torch."""
