"""Each flag by itself, at each opset that runtimes ask for: it works and verifies, or says from which it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nfexport
from nfexport.errors import RecipeError

OPSETS = (11, 13, 17, 18)

FLAGS: dict[str, dict[str, Any]] = {
    "fold-ws": {"fold_ws": True},
    "fold-scales": {"fold_ws": True, "fold_scales": True},
    "optimize": {"optimize": True},
    "normalize": {"normalize": "nodes"},
    "normalize fold": {"fold_ws": True, "normalize": "fold"},
    "channels": {"channels": "bgr"},
    "input-dtype uint8": {"input_dtype": "uint8"},
    "input-dtype float16": {"input_dtype": "float16"},
    "input-layout": {"input_layout": "nhwc"},
    "input-range": {"input_range": 255},
    "resize": {"resize": (100, 140)},
    "resize any": {"resize": "any"},
    "probs": {"outputs": ("probs",)},
    "topk": {"outputs": ("topk",), "top_k": 3},
    "features": {"outputs": ("features",)},
    "embedding": {"outputs": ("embedding", "embedding-unpooled")},
    "rename": {"rename": {"input": "image", "output": "scores"}},
    "batch": {"batch": 2},
    "dynamic-size": {"dynamic_size": True},
    "fp16": {"precision": "fp16"},
    "fp16-weights": {"precision": "fp16-weights"},
    "simplify": {"simplify": True},
    "strip": {"strip": True},
}
FROM_18 = "resize any"


@pytest.mark.slow
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_at_each_opset(flag: str, opset: int, tmp_path: Path) -> None:
    flags = FLAGS[flag] | {"opset": opset, "image_size": 96}
    path = tmp_path / "m.onnx"
    if flag == FROM_18 and opset < 18:
        with pytest.raises(RecipeError, match="Resize learned it at 18; pass --opset 18"):
            nfexport.export("test_nfnet", path, **flags)
        return
    result = nfexport.export("test_nfnet", path, **flags)
    assert result.verification is not None
    assert result.verification.passed
    assert result.facts.opset_imports[""] == opset
