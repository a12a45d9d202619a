"""What determines a file, and its validated JSON: source, options, recipe, preprocessing, metadata.

Nothing here imports numpy, onnx or torch.
"""
