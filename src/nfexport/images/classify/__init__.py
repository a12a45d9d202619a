"""Classify images with an exported file alone: ONNX Runtime, numpy and Pillow, without torch and timm.

    file ─inspection▶ recipe ─describe▶ Description: input and outputs                    (description.py)
    images ─read_ahead▶ pixels ─batch▶ tensor ─session▶ outputs of each image             (inference.py)
    outputs ─top_classes▶ the top classes, or a row of a file      (top_classes.py, embeddings.py, feature_maps.py)

A Description need not come from a recipe: only describe reads one.
"""
