"""Export the digits network in several forms, and show that each predicts the same digit for every image.

    python prove.py FOLDER

FOLDER is what train.py wrote. Exits with 1 if a form disagrees with PyTorch on an image.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import nfexport
from nfexport.images.preprocessor import preprocessor_of
from nfexport.presets import find_preset
from nfexport.runtimes import open_session

HERE = Path(__file__).parent
EXPORTS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {"fold_ws": False, "opset": 17},
    "folded": {},
    "folded, with scales": {"fold_scales": True},
    "BGR 0..255": {"normalize": "nodes", "channels": "bgr", "input_range": 255},
    "BGR 0..255, folded in": {"normalize": "fold", "channels": "bgr", "input_range": 255},
    "bytes, channels last": {"normalize": "nodes", "input_dtype": "uint8", "input_layout": "nhwc"},
    "float16": {"precision": "fp16"},
    "float16 weights": {"precision": "fp16-weights"},
    "opset 18, by dynamo": {"opset": 18},
}
"""The export options of each form, in addition to those of the preset's original form."""


def main(folder: Path) -> int:
    """Print a line for each form, and return the exit code."""
    preset = find_preset("digits", [HERE])
    weights, images = folder / "digits.safetensors", folder / "images"
    base = preset.export_options("original")
    wrong = 0
    print(f"{'form':<24}{'top-1: PyTorch':>16}{'ONNX Runtime':>14}{'OpenVINO':>10}   same digit in all    diff")
    for number, (name, options) in enumerate(EXPORTS.items()):
        target = folder / f"form_{number}.onnx"
        nfexport.export(preset.model, target, checkpoint=weights, **{**base, **options}, verify=False)
        found = nfexport.evaluate(
            target, images, runtimes=("onnxruntime", "openvino"), against="torch", checkpoint=weights
        )
        top1 = {score.runtime: score.top1 for score in found.scores}
        same = min(agreement.top1 for agreement in found.agreements)
        apart = max(agreement.largest_difference or 0.0 for agreement in found.agreements)
        wrong += same < 100
        print(
            f"{name:<24}{top1['torch']:>15.2f}%{top1['onnxruntime']:>13.2f}%{top1['openvino']:>9.2f}%"
            f"{same:>17.2f}% {apart:>9.1e}"
        )
    for precision in ("fp32", "fp16"):
        same, apart, count = compare_ir(folder, precision)
        wrong += same < count
        print(f"{'OpenVINO IR, ' + precision:<24}{'':>40}{100 * same / count:>17.2f}% {apart:>9.1e}")
    return int(wrong > 0)


def compare_ir(folder: Path, precision: str) -> tuple[int, float, int]:
    """Compare OpenVINO's form of the converted preset with the ONNX file.

    Returns the number of images with the same prediction, the largest difference of a probability, and the number of
    images."""
    target = folder / f"ir_{precision}.onnx"
    result = nfexport.export_preset(
        "digits",
        target,
        form="converted",
        checkpoint=folder / "digits.safetensors",
        folders=[HERE],
        to="openvino",
        ir_precision=precision,
        verify=False,
    )
    preprocessor = preprocessor_of(result.recipe)
    batch = preprocessor.batch([preprocessor.read(path) for path in sorted((folder / "images").rglob("*.png"))])
    ours, theirs = (
        open_session(file, runtime=runtime).run({"digit": batch})["chances"]
        for runtime, file in (("onnxruntime", target), ("openvino", target.with_suffix(".xml")))
    )
    same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    return same, float(np.abs(ours - theirs).max()), len(batch)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
