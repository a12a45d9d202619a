"""The three usages of timm's model card, from an exported file: ONNX Runtime, numpy and Pillow alone.

    nfexport nfnet_l0.ra2_in1k --image-size 224 --fold-ws --output logits --features \\
        --embedding --embedding unpooled -o nfnet_l0.onnx
    python usage.py nfnet_l0.onnx image.png

The recipe in the file, JSON in its metadata, says how images are prepared and what the outputs are.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
PREPARED = {
    "crop_mode": "center",
    "channel_order": "rgb",
    "value_range": [0.0, 1.0],
    "dtype": "float32",
    "layout": "nchw",
}
"""The preprocessing that prepare does; the recipe of a file that normalises or resizes itself differs."""


def prepare(image: Image.Image, recipe: dict[str, Any]) -> np.ndarray:
    """Return the tensor [1, 3, height, width] of an image: timm's create_transform(is_training=False).

    Resizes the shorter side to ⌊size / crop_pct⌋, crops the centre, and returns x = (pixel / 255 − mean) / std."""
    wanted = recipe["preprocessing"]
    if other := {key: wanted[key] for key, value in PREPARED.items() if wanted[key] != value}:
        sys.exit(f"this example does not prepare images with {other}; 'nfexport classify' does")
    height, width = recipe["image_size"]
    short = int(height / wanted["crop_pct"])
    image = image.convert("RGB")
    if image.width <= image.height:
        size = (short, int(short * image.height / image.width))
    else:
        size = (int(short * image.width / image.height), short)
    image = image.resize(size, FILTERS[wanted["interpolation"]])
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32) / 255
    normal = (pixels - np.float32(wanted["mean"])) / np.float32(wanted["std"])
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities [batch, classes]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def main() -> None:
    """Print the top five classes and the shapes of feature maps and embeddings, and save the arrays if asked to."""
    parser = argparse.ArgumentParser(description="Classify an image, and compute its feature maps and embeddings.")
    parser.add_argument("file")
    parser.add_argument("image")
    parser.add_argument("--save", metavar="FILE.npz", help="save the arrays too")
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(arguments.file)
    recipe = json.loads(session.get_modelmeta().custom_metadata_map["nfexport.recipe"])
    with Image.open(arguments.image) as image:
        tensor = prepare(image, recipe)
    names = [output["name"] for output in recipe["outputs"]]
    found = dict(zip(names, session.run(names, {recipe["input_name"]: tensor}), strict=True))
    kept = dict(found)

    # image classification: output.softmax(dim=1) * 100, and the top five
    percent = softmax(found["logits"]) * 100
    indices = np.argsort(-percent, axis=1, kind="stable")[:, :5]
    kept["top5_class_indices"], kept["top5_probabilities"] = indices, np.take_along_axis(percent, indices, axis=1)
    for index, share in zip(indices[0], kept["top5_probabilities"][0], strict=True):
        print(f"class {index}: {share:.4f} %")

    # feature map extraction: features_only=True
    for name in (output["name"] for output in recipe["outputs"] if output["kind"] == "features"):
        print(f"{name}: {list(found[name].shape)}")

    # image embeddings: forward_features, and num_classes=0 or forward_head(output, pre_logits=True)
    for name in ("embedding_unpooled", "embedding"):
        print(f"{name}: {list(found[name].shape)}")

    if arguments.save:
        np.savez(arguments.save, **kept)


if __name__ == "__main__":
    main()
