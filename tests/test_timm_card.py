"""The three usages of timm's card of nfnet_l0.ra2_in1k, from one exported file, equal timm's own.

Upper half: the code of the card, word for word but for the image and the weights, which are seeded. Lower
half: examples/timm_card/usage.py in a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nfexport
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm

timm = import_timm()
USAGE = Path(__file__).parents[1] / "examples" / "timm_card" / "usage.py"

TOLERANCE = 1e-5
"""Of the range of each output: float32 in another order costs 1e-6 at most."""


def drawn_image() -> Image.Image:
    """A drawn image, not square, larger than the network's."""
    y, x = np.mgrid[:300, :400]
    return Image.fromarray(np.stack([x * 255 // 400, y * 255 // 300, (x * y) % 256], axis=-1).astype(np.uint8))


def with_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Load the seeded weights; features_only unpacks one level of the modules, stem.conv1 to stem_conv1."""
    own = model.state_dict()
    renamed = {name if name in own else name.replace(".", "_", 1): value for name, value in weights.items()}
    model.load_state_dict({name: renamed[name] for name in own})
    return model


def card(img: Image.Image, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    model: Any
    # Image Classification
    model = with_weights(timm.create_model("nfnet_l0.ra2_in1k", pretrained=False), weights)
    model = model.eval()

    # get model specific transforms (normalization, resize)
    data_config = timm.data.resolve_model_data_config(model)
    transforms = timm.data.create_transform(**data_config, is_training=False)

    output = model(transforms(img).unsqueeze(0))  # unsqueeze single image into batch of 1

    found["top5_probabilities"], found["top5_class_indices"] = torch.topk(output.softmax(dim=1) * 100, k=5)

    # Feature Map Extraction
    model = timm.create_model(
        "nfnet_l0.ra2_in1k",
        pretrained=False,
        features_only=True,
    )
    model = with_weights(model, weights).eval()
    data_config = timm.data.resolve_model_data_config(model)
    transforms = timm.data.create_transform(**data_config, is_training=False)

    output = model(transforms(img).unsqueeze(0))
    found |= {f"features_{i}": o for i, o in enumerate(output)}

    # Image Embeddings
    model = timm.create_model(
        "nfnet_l0.ra2_in1k",
        pretrained=False,
        num_classes=0,  # remove classifier nn.Linear
    )
    model = with_weights(model, weights).eval()
    data_config = timm.data.resolve_model_data_config(model)
    transforms = timm.data.create_transform(**data_config, is_training=False)

    found["num_classes=0"] = model(transforms(img).unsqueeze(0))  # output is (batch_size, num_features) shaped tensor

    output = model.forward_features(transforms(img).unsqueeze(0))
    found["embedding_unpooled"] = output  # output is unpooled, a (1, 2304, 7, 7) shaped tensor

    found["embedding"] = model.forward_head(output, pre_logits=True)
    return found


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, np.ndarray], str, set[str]]:
    """What the example gives: its arrays, what it printed, and the packages that it loaded."""
    folder = tmp_path_factory.mktemp("card")
    options: dict[str, Any] = {"outputs": ("logits", "features", "embedding", "embedding-unpooled")}
    nfexport.export("nfnet_l0", folder / "m.onnx", image_size=224, fold_ws=True, verify=False, **options)
    drawn_image().save(folder / "image.png")
    arguments = [str(USAGE), str(folder / "m.onnx"), str(folder / "image.png"), "--save", str(folder / "all.npz")]
    code = (
        f"import runpy, sys; sys.argv = {arguments!r}; runpy.run_path({str(USAGE)!r}, run_name='__main__')\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    with np.load(folder / "all.npz") as arrays:
        return dict(arrays), "\n".join(lines), set(loaded.split())


@pytest.fixture(scope="module")
def wanted() -> dict[str, torch.Tensor]:
    weights = load(ModelSpec(name="nfnet_l0", image_size=224)).module.state_dict()
    with torch.inference_mode():
        return card(drawn_image(), weights)


@pytest.mark.slow
def test_the_three_usages_of_the_card_equal_timms_own(
    given: tuple[Mapping[str, np.ndarray], str, set[str]], wanted: dict[str, torch.Tensor]
) -> None:
    arrays = given[0]
    np.testing.assert_array_equal(arrays["top5_class_indices"], wanted["top5_class_indices"].numpy())
    shapes = [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1536, 14, 14), (2304, 7, 7)]
    assert [arrays[f"features_{i}"].shape for i in range(5)] == [(1, *shape) for shape in shapes]
    assert (arrays["embedding"].shape, arrays["embedding_unpooled"].shape) == ((1, 2304), (1, 2304, 7, 7))
    names = ["top5_probabilities", *(f"features_{i}" for i in range(5)), "embedding", "embedding_unpooled"]
    for name in names:
        value = wanted[name].numpy()
        assert np.abs(arrays[name] - value).max() < TOLERANCE * np.ptp(value), name
    value = wanted["num_classes=0"].numpy()
    assert np.abs(arrays["embedding"] - value).max() < TOLERANCE * np.ptp(value)


def test_the_example_loads_neither_torch_nor_timm_nor_nfexport(
    given: tuple[Mapping[str, np.ndarray], str, set[str]],
) -> None:
    assert not given[2] & {"torch", "torchvision", "timm", "nfexport", "onnx"}
    tree = ast.parse(USAGE.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "argparse", "json", "sys", "typing", "numpy", "onnxruntime", "PIL"}
    lines = given[1].splitlines()
    assert len(lines) == 12
    assert lines[5:] == [
        "features_0: [1, 64, 112, 112]",
        "features_1: [1, 256, 56, 56]",
        "features_2: [1, 512, 28, 28]",
        "features_3: [1, 1536, 14, 14]",
        "features_4: [1, 2304, 7, 7]",
        "embedding_unpooled: [1, 2304, 7, 7]",
        "embedding: [1, 2304]",
    ]
