"""Flags in any combination: the file equals PyTorch behind the same preprocessing, and so does what surgery
makes of it. Each combination is drawn from a seed; the verifier is the judge, in export and in surgery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfexport
from nfexport.errors import RecipeError

NETWORKS = ("test_nfnet", "test_efficientnet", "vit_tiny_r_s16_p8_224")
OPSETS = (11, 13, 17, 18)

FEW = range(1, 4)
"""The combinations that the default suite tries."""


def draw(seed: int) -> tuple[str, dict[str, Any]]:
    """Return an architecture and flags of its export."""
    dice = np.random.default_rng(seed)

    def pick(*choices: Any) -> Any:
        return choices[dice.integers(len(choices))]

    name = NETWORKS[seed % len(NETWORKS)]
    flags: dict[str, Any] = {
        "opset": pick(*OPSETS),
        "fold_ws": pick(True, True, False),
        "fold_scales": pick(True, False),
        "optimize": bool(seed % 2),
        "normalize": pick(None, "nodes", "fold"),
        "channels": pick(None, "rgb", "bgr"),
        "input_dtype": pick(None, "uint8", "float32", "float16"),
        "input_layout": pick(None, "nchw", "nhwc"),
        "precision": pick(None, None, None, "fp16", "fp16-weights"),
        "simplify": pick(True, False, False),
        "strip": pick(True, False),
        "batch": pick("dynamic", "dynamic", 1, 2),
        "outputs": pick(
            ("logits",),
            ("probs",),
            ("topk",),
            ("embedding",),
            ("features",),
            ("logits", "probs", "topk", "features", "embedding", "embedding-unpooled"),
        ),
        "num_classes": 12,
    }
    if flags["input_dtype"] != "uint8":
        flags["input_range"] = pick(None, 1, 255)
    if flags["normalize"] is not None and pick(True, False):
        flags |= {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    size = pick(None, None, "any", (120, 90))
    if size == "any" and flags["opset"] < 18:
        size = (100, 140)
    if size is not None and flags["input_range" if "input_range" in flags else "opset"] != 1:
        flags["resize"] = size
    if flags["normalize"] == "fold":
        # a weight that is standardised at run time cannot take a factor
        flags["fold_ws"] = True
    if "vit" not in name:
        flags["image_size"] = 96
        if size is None and pick(True, False, False):
            flags["dynamic_size"] = True
    if flags["opset"] == 18 and seed in FEW:
        # dynamo takes ten seconds, and these combinations are about what follows the trace
        flags["exporter"] = "torchscript"
    if flags["outputs"] == ("logits",):
        flags["rename"] = {"input": "image", "output": "scores"}
    return name, flags


def check(seed: int, folder: Path) -> None:
    name, flags = draw(seed)
    path = folder / "m.onnx"
    result = nfexport.export(name, path, **flags)
    assert result.verification is not None
    assert result.verification.passed
    assert result.facts.opset_imports[""] == flags["opset"]
    if seed % 4 == 0:
        again = nfexport.verify(path, seed=seed + 1)
        assert again.passed, (again.report.summary(), again.disagreements)


@pytest.mark.parametrize("seed", FEW)
def test_a_combination(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in range(200) if seed not in FEW])
def test_a_combination_of_many(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "--mean and --std belong together"),
        ({"std": (0.5, 0.5, 0.5), "normalize": "nodes"}, "--mean and --std belong together"),
        ({"input_range": 7}, "pixels cannot range from 0 to 7; pass --input-range 255 or 1"),
        ({"input_dtype": "uint8", "input_range": 1}, "uint8 pixels cannot range from 0 to 1"),
        ({"resize": "any", "opset": 17}, "Resize learned it at 18; pass --opset 18, or a fixed size"),
        ({"resize": "any", "opset": 18, "dynamic_size": True}, "--dynamic-size and --resize both"),
        ({"outputs": ("probs", "logits"), "output_name": "x"}, "--output-name names one output, and there are 2"),
        ({"outputs": ("topk",), "top_k": 13}, "there is no top 13 of 12 classes"),
        ({"outputs": ("features",), "feature_levels": (9,)}, "has no feature map 9; pass levels from 0 to 4"),
    ],
)
def test_flags_that_contradict_themselves_are_refused(flags: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        nfexport.export("test_nfnet", tmp_path / "m.onnx", num_classes=12, **flags)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []
