"""Exported files in each form, once a session, and images to show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nfexport

SIZE, CLASSES = 64, 7

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"outputs": ("logits", "features", "embedding", "embedding-unpooled")},
    "bgr": {"normalize": "nodes", "channels": "bgr", "input_range": 255, "outputs": ("probs",)},
    "bytes": {"normalize": "nodes", "input_dtype": "uint8", "input_layout": "nhwc"},
    "any-size": {
        "normalize": "nodes",
        "resize": "any",
        "outputs": ("topk",),
        "top_k": 4,
        "opset": 18,
        "exporter": "torchscript",
    },
    "labels": {"outputs": ("sigmoid",)},
    "four": {"batch": 4},
    "features": {"outputs": ("features",)},
}


def drawn(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """A smooth image with an edge, noise, and nothing that is equal in two channels."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([y * 255 / height, x * 255 / width, (x > width / 3) * 200.0], axis=-1)
    array = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(array).convert(mode)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what exports a form when it is first asked for."""
    folder = tmp_path_factory.mktemp("classify")

    def file(form: str) -> Path:
        path = folder / f"{form}.onnx"
        if not path.exists():
            nfexport.export(
                "test_nfnet",
                path,
                fold_ws=True,
                image_size=SIZE,
                num_classes=CLASSES,
                verify=False,
                **FORMS[form],
            )
        return path

    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of three sizes, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    drawn(90, 120).save(folder / "a.png")
    drawn(130, 70).save(folder / "b.png")
    drawn(64, 64).save(folder / "more" / "a.png")
    return folder
