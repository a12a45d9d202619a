"""What is on a picture, by an exported file alone: ONNX Runtime, numpy and Pillow, without torch and timm.

    file ─inspection▶ recipe ─describe▶ Description: how pictures go in, what comes out      (description.py)
    pictures ─read_ahead▶ pixels ─batch▶ tensor ─session▶ Answer, one for each picture       (answering.py)
    Answer ─best▶ the best classes (scoring.py), or a row of a file (embeddings.py, feature_maps.py)

A Description may come from elsewhere than a recipe; nothing behind describe looks at one.
"""
