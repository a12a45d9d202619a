"""A small network of ten classes, and a folder of images that timm and PyTorch have answered on their own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nfexport

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
COUNT = 60
SIZE = 64


def waves(seed: int, height: int = 90, width: int = 120) -> Image.Image:
    """Waves in three colours, with a little noise: seeded networks tell them apart."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        127 + rng.uniform(40, 127) * np.sin(x / rng.uniform(2, 30) + y / rng.uniform(2, 30) + rng.uniform(0, 6))
        for _ in range(3)
    ]
    noise = rng.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """A folder with a folder for each class; logits are PyTorch's, by image."""

    root: Path
    truth: dict[str, int]
    logits: dict[str, np.ndarray]

    def per_cent(self, k: int) -> float:
        """Count as timm's validation does: the class among torch.topk's first k."""
        import torch

        hits = [
            self.truth[name] in torch.from_numpy(logits).topk(k).indices.tolist()
            for name, logits in self.logits.items()
        ]
        return 100.0 * sum(hits) / len(hits)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("evaluated") / "small.onnx")


def export(target: Path, **options: object) -> Path:
    settings = {"num_classes": 10, "image_size": SIZE, "fold_ws": True, "verify": False} | options
    nfexport.export("test_nfnet", target, **settings)  # type: ignore[arg-type]
    return target


@pytest.fixture(scope="session")
def answered(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """Half of the images lie in the folder of PyTorch's own answer, the others in each folder in turn, so that
    neither all nor none is right."""
    import torch
    from timm.data import create_transform, resolve_data_config

    from nfexport.sources import ModelSpec, load

    module = load(ModelSpec(name="test_nfnet", num_classes=10, image_size=SIZE)).module
    config = resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=module)
    transform = create_transform(**config, is_training=False)
    root = tmp_path_factory.mktemp("images") / "val"
    for name in NAMES:
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(1)
    truth, logits = {}, {}
    for seed in range(COUNT):
        image = waves(seed, *rng.integers(50, 140, 2).tolist())
        image = image.convert("L") if seed % 10 == 3 else image
        path = root / f"{seed:03}.{'jpg' if seed % 3 else 'png'}"
        image.save(path)
        with Image.open(path) as opened, torch.inference_mode():
            scores = module(transform(opened.convert("RGB"))[None])[0].numpy()
        index = int(scores.argmax()) if seed % 2 else seed // 2 % 10
        name = f"{NAMES[index]}/{path.name}"
        path.rename(root / name)
        truth[name], logits[name] = index, scores
    return Answered(root=root, truth=truth, logits=logits)
