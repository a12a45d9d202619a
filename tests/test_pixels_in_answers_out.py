"""A file with everything inside, fed with bytes, against PyTorch fed with what timm makes of the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import nfexport
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm


def images() -> list[np.ndarray]:
    """Return images [height, width, 3], RGB bytes: a drawn one, and scikit-learn's photographs where it is."""
    y, x = np.mgrid[:300, :400]
    drawn = np.stack([x * 255 // 400, y * 255 // 300, (x + y) % 256], axis=-1).astype(np.uint8)
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        return [drawn, drawn[::-1, :, ::-1]]
    return [drawn, *load_sample_images().images]


def check(name: str, folder: Path, image_size: int | None, *, fold: bool) -> list[str]:
    """Export, compare on each image, and return the operators in front of the first convolution."""
    path = folder / "m.onnx"
    result = nfexport.export(
        name,
        path,
        opset=11,
        fold_ws=True,
        fold_scales=True,
        normalize="fold" if fold else "nodes",
        channels="bgr",
        input_range=255,
        outputs=("probs",),
        image_size=image_size,
    )
    import_timm()
    from timm.data import create_transform

    module = load(ModelSpec(name=name, image_size=image_size)).module
    p, size = result.recipe.preprocessing, result.recipe.image_size
    cfg = load(ModelSpec(name=name, image_size=image_size)).preprocessing
    to_bytes = create_transform(size[0], crop_pct=p.crop_pct, crop_mode=p.crop_mode, mean=(0, 0, 0), std=(1, 1, 1))
    session = onnxruntime.InferenceSession(path)
    for image in images():
        pixels = torch.round(to_bytes(Image.fromarray(np.ascontiguousarray(image))) * 255)
        mean, std = (torch.tensor(numbers).reshape(-1, 1, 1) for numbers in (cfg.mean, cfg.std))
        with torch.inference_mode():
            wanted = module(((pixels / 255 - mean) / std)[None]).softmax(-1).numpy()
        given = session.run(None, {"input": pixels.numpy()[None, ::-1].copy()})[0]
        # float32 costs this 1e-6 of the range; the wrong order of channels costs all of it
        assert np.abs(given - wanted).max() < 1e-5 * np.ptp(wanted)
        wrong = session.run(None, {"input": pixels.numpy()[None]})[0]
        assert np.abs(wrong - wanted).max() > 1e-3 * np.ptp(wanted)
    nodes = list(onnx.load(path, load_external_data=False).graph.node)
    first = next(i for i, node in enumerate(nodes) if node.op_type == "Conv")
    return [node.op_type for node in nodes[:first]]


@pytest.mark.parametrize("fold", [True, False])
def test_a_small_network(fold: bool, tmp_path: Path) -> None:
    front = check("test_nfnet", tmp_path, 96, fold=fold)
    # test_nfnet has one mean for all channels, so a Pad with it does where others keep a Sub
    assert front == (["Pad"] if fold else ["Gather", "Sub", "Div"])


@pytest.mark.slow
@pytest.mark.parametrize("fold", [True, False])
def test_nfnet_f0(fold: bool, tmp_path: Path) -> None:
    front = check("nfnet_f0", tmp_path, None, fold=fold)
    assert front == (["Sub"] if fold else ["Gather", "Sub", "Div"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nfnet_f0", "dm_nfnet_f0", "nfnet_l0"])
def test_no_product_with_a_constant_is_left_outside_gelu(name: str, tmp_path: Path) -> None:
    nfexport.export(name, tmp_path / "m.onnx", opset=11, fold_ws=True, fold_scales=True, verify=False)
    graph = onnx.load(tmp_path / "m.onnx").graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    left = [node for node in graph.node if node.op_type in ("Mul", "Div") and constants & set(node.input)]
    of_gelu = [node for node in left if any("act" in part for part in node.name.split("/")[-2:-1])]
    assert [node.name for node in left if node not in of_gelu] == []
    # x/√2 into Erf, and the half: one each per Gelu
    assert len(of_gelu) == 2 * sum(node.op_type == "Erf" for node in graph.node)
