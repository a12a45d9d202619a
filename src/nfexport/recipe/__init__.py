"""What determines a file, and its validated JSON: source, options, recipe, preprocessing, metadata.

Importing it loads neither numpy nor onnx nor torch; opsets.py loads onnx and onnxruntime when it is called.
"""
