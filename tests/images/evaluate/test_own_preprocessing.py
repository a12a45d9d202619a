"""PyTorch sees the images as the recipe's network does, also where its statistics are not timm's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nfexport
from nfexport.cli import run
from nfexport.images.evaluate.runners import network_preprocessor
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm
from tests.images.evaluate.conftest import COUNT, SIZE, Answered, export

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
OWN: dict[str, Any] = {"mean": MEAN, "std": STD}
CROP: dict[str, Any] = {"crop_pct": 0.7, "crop_mode": "squash", "interpolation": "bilinear"}
BYTES: dict[str, Any] = {"normalize": "nodes", "input_dtype": "uint8", "input_layout": "nhwc"}


def timms_answers(answered: Answered, **crop: Any) -> list[int]:
    """The best classes of the images in the order of their paths, by timm's own transform with these statistics."""
    import_timm()
    from timm.data import create_transform, resolve_data_config

    module = load(ModelSpec(name="test_nfnet", num_classes=10, image_size=SIZE)).module
    config = resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=module) | OWN | crop
    transform = create_transform(**config, is_training=False)
    result = []
    for name in sorted(answered.truth):
        with Image.open(answered.root / name) as image, torch.inference_mode():
            result.append(int(module(transform(image.convert("RGB"))[None]).argmax()))
    return result


@pytest.mark.parametrize(
    ("options", "crop"),
    [
        ({}, {}),
        ({"normalize": "nodes", "input_range": 255.0, "channels": "bgr"}, {}),
        ({"normalize": "fold", "opset": 11}, CROP),
        (BYTES, CROP),
        ({}, CROP),
    ],
    ids=["outside", "inside", "folded-other-crop", "bytes-other-crop", "outside-other-crop"],
)
def test_the_file_agrees_with_pytorch_image_for_image(
    options: dict[str, Any], crop: dict[str, Any], answered: Answered, tmp_path: Path
) -> None:
    path = export(tmp_path / "own.onnx", **(OWN | crop), **options)
    result = nfexport.evaluate(path, answered.root, against="torch")
    (agreement,) = result.agreements
    assert (result.images, agreement.top1, agreement.top5) == (COUNT, 100, 100)
    # float32 on both sides; timm's own mean of 0.5 moves a probability by 1e-2
    assert agreement.largest_difference is not None
    assert agreement.largest_difference < 1e-5
    if "crop_pct" in crop or not options:
        assert result.predicted.tolist() == timms_answers(answered, **crop)


def test_it_does_so_on_the_command_line(
    answered: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.onnx"
    own = ["--network-mean", "0.1,0.2,0.3", "--network-std", "0.4,0.5,0.6"]
    assert run(["test_nfnet", "-o", str(path), "--num-classes", "10", "--image-size", "64", *own, "-q"]) == 0
    assert run(["evaluate", str(path), str(answered.root), "--against", "torch", "--limit", "12", "--json"]) == 0
    (agreement,) = json.loads(capsys.readouterr().out)["agreement"]
    assert (agreement["second"], agreement["top1"]) == ("torch", 100)


def test_timms_statistics_would_not_agree(answered: Answered, tmp_path: Path) -> None:
    """The images are such that the difference shows."""
    other = nfexport.evaluate(export(tmp_path / "timm.onnx"), answered.root)
    own = nfexport.evaluate(export(tmp_path / "own.onnx", **OWN), answered.root)
    assert np.mean(other.predicted == own.predicted) < 0.9


def test_a_file_that_resizes_leaves_the_recipes_crop_to_pillow(tmp_path: Path) -> None:
    path = export(
        tmp_path / "any.onnx", **(OWN | CROP), resize="any", normalize="nodes", opset=18, exporter="torchscript"
    )
    recipe = nfexport.inspect(path).recipe
    assert recipe is not None
    pre = network_preprocessor(recipe).preprocessing
    assert (pre.mean, pre.std, pre.crop_pct, pre.crop_mode, pre.interpolation) == (MEAN, STD, *CROP.values())
    assert (pre.dtype, pre.layout, pre.value_range) == ("float32", "nchw", (0.0, 1.0))
