"""A short training run, with the arguments and the checkpoints of timm's training script (train.py)."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfexport.sources.timm.torchvision_operators import import_timm

CLASSES = ("horizontal stripes", "vertical stripes", "a disc", "a gradient")
SIZE = 64

DEFAULTS: dict[str, Any] = {
    "data_dir": "data",
    "class_map": "",
    "model": "test_nfnet",
    "pretrained": False,
    "initial_checkpoint": "",
    "num_classes": None,
    "gp": None,
    "img_size": None,
    "in_chans": None,
    "input_size": None,
    "crop_pct": None,
    "mean": None,
    "std": None,
    "interpolation": "",
    "batch_size": 128,
    "model_kwargs": {},
    "opt": "sgd",
    "opt_betas": None,
    "lr": 0.05,
    "decay_milestones": [90, 180, 270],
    "scale": [0.08, 1.0],
    "bn_momentum": None,
    "bn_eps": None,
    "train_interpolation": "random",
    "model_ema": False,
    "model_ema_decay": 0.9998,
    "seed": 42,
    "prefetcher": True,
    "distributed": False,
    "device": "cuda:0",
    "world_size": 1,
    "rank": 0,
}
"""Those arguments of train.py that say something of the network, its images or its weights, and others of each type,
with their defaults, and what the script adds to them."""


def arguments(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**DEFAULTS, **given})


def made_images(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return grey images [count, SIZE, SIZE] uint8, and the class of each."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images, classes = [], np.arange(count) % len(CLASSES)
    for kind in classes:
        a, b, width = generator.uniform(0.2, 0.8), generator.uniform(0.2, 0.8), generator.uniform(3, 6)
        image = (
            np.sin(2 * np.pi * width * y),
            np.sin(2 * np.pi * width * x),
            2.0 * ((y - a) ** 2 + (x - b) ** 2 < 0.05) - 1,
            2 * (a * y + b * x) / (a + b) - 1,
        )[kind]
        noisy = 128 + 90 * image + generator.normal(0, 20, image.shape)
        images.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return np.stack(images), classes


def train(folder: Path, args: argparse.Namespace, *, epochs: int = 8) -> Path:
    """Train on made images, and write model_best.pth.tar as train.py does; return its path."""
    timm = import_timm()
    from timm.data import resolve_data_config
    from timm.utils import CheckpointSaver, ModelEmaV2

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        model = timm.create_model(
            args.model, in_chans=args.in_chans, num_classes=args.num_classes, global_pool=args.gp, **args.model_kwargs
        )
        data = resolve_data_config(vars(args), model=model)
        images, classes = map(torch.from_numpy, made_images(192, seed=1))
        mean, std = (torch.tensor(data[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
        inputs = ((images[:, None] / 255).float().expand(-1, args.in_chans, -1, -1) - mean) / std
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        ema = ModelEmaV2(model, decay=0.9) if args.model_ema else None
        saver = CheckpointSaver(
            model, optimizer, args=args, model_ema=ema, checkpoint_dir=str(folder), recovery_dir=str(folder)
        )
        for epoch in range(epochs):
            model.train()
            for batch in torch.split(torch.randperm(len(inputs)), 32):
                loss = torch.nn.functional.cross_entropy(model(inputs[batch]), classes[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if ema is not None:
                    ema.update(model)
            model.eval()
            with torch.inference_mode():
                accuracy = (model(inputs).argmax(1) == classes).double().mean().item()
            saver.save_checkpoint(epoch, metric=100 * accuracy)
            if accuracy > 0.97:
                break
    assert accuracy > 0.9  # it was trained indeed
    best = folder / "model_best.pth.tar"
    if not best.exists():
        shutil.copy(folder / "last.pth.tar", best)
    return best
