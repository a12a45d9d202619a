"""Files of a small network in several forms, exported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import nfexport
from tests.inspection.files import network

FORMS: dict[str, dict[str, Any]] = {
    "original": {},
    "converted": {"normalize": "nodes", "channels": "bgr", "input_range": 255, "outputs": ("probs",), "opset": 11},
    "pixels": {
        "normalize": "fold",
        "resize": "any",
        "outputs": ("topk",),
        "top_k": 3,
        "opset": 18,
        "exporter": "torchscript",
    },
    "labels": {"outputs": ("sigmoid",)},
    "features": {"outputs": ("probs", "features", "embedding", "embedding-unpooled"), "feature_levels": (1, 3)},
    "odd": {
        "image_size": (96, 64),
        "batch": 2,
        "channels": "bgr",
        "input_dtype": "float16",
        "input_layout": "nhwc",
        "input_range": 255,
        "seed": 3,
        "rename": {"input": "image", "output": "scores"},
    },
}
"""What each file is exported with, beside a size of 96 pixels and folded weights."""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files by the names of FORMS."""
    folder = tmp_path_factory.mktemp("cards")
    for name, options in FORMS.items():
        nfexport.export(
            "test_nfnet", folder / f"{name}.onnx", verify=False, **{"image_size": 96, "fold_ws": True, **options}
        )
    return {name: folder / f"{name}.onnx" for name in FORMS}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file that nfexport did not make."""
    path = tmp_path / "theirs.onnx"
    onnx.save(network(), path)
    return path
