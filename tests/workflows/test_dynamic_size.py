"""Files that accept images of other sizes, and networks that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import nfexport
from nfexport.errors import RecipeError
from nfexport.sources import ModelSpec, load
from nfexport.sources.model.accepted_sizes import why_fixed
from nfexport.sources.timm.torchvision_operators import import_timm


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        ("test_nfnet", 11),
        pytest.param("test_nfnet", 18, marks=pytest.mark.slow),
        ("test_efficientnet", 17),
        pytest.param("test_nfnet", 17, marks=pytest.mark.slow),
        pytest.param("test_efficientnet", 11, marks=pytest.mark.slow),
        pytest.param("test_efficientnet", 18, marks=pytest.mark.slow),
    ],
)
def test_it_is_right_at_sizes_that_the_verifier_did_not_try(name: str, opset: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    result = nfexport.export(name, path, dynamic_size=True, image_size=96, opset=opset, fold_ws=True, num_classes=9)
    assert result.facts.inputs[0].shape == ("batch", 3, "height", "width")
    module = load(ModelSpec(name=name, image_size=96, num_classes=9)).module
    session = onnxruntime.InferenceSession(path)
    for size in ((96, 96), (75, 131), (224, 64)):
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            wanted = module(x).numpy()
        given = session.run(None, {"input": x.numpy()})[0]
        # float32 costs these networks 5e-7 of the range
        assert np.abs(given - wanted).max() < 5e-6 * np.ptp(wanted)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_vit", "position embeddings ('pos_embed')"),
        ("tf_efficientnet_b0", "conv_stem (Conv2dSame) pads by the remainder of the size"),
    ],
)
def test_networks_of_one_size_are_refused_with_the_reason(name: str, reason: str) -> None:
    assert reason in str(why_fixed(import_timm().create_model(name)))


def test_nothing_is_written_for_them(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the image size of test_vit is fixed .* leave out --dynamic-size"):
        nfexport.export("test_vit", tmp_path / "m.onnx", dynamic_size=True)
    assert list(tmp_path.iterdir()) == []
