"""What any source loads: the torch model, its weights' digest, and what it can give."""
