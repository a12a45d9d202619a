"""Train a small Normalizer-Free Net on scikit-learn's handwritten digits, in under half a minute on two cores.

    python train.py FOLDER

writes FOLDER/digits.safetensors, the weights, and FOLDER/images/<digit>/<n>.png, the 360 held-out digits. Training
is seeded: the same versions on the same machine write the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nfexport.sources.timm.torchvision_operators import import_timm

SIZE = 32
"""Height and width of an image, in pixels; the digits of scikit-learn have 8 × 8."""
MEAN, STD = 0.5, 0.5
EPOCHS, BATCH, RATE = 12, 64, 2e-3
HELD_OUT = 360


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits [1797, 32, 32, 3] uint8, and their classes [1797]."""
    digits = load_digits()
    grey = (digits.images * (255.0 / 16.0)).round().astype(np.uint8)
    large = [Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB") for one in grey]
    return np.stack([np.asarray(one) for one in large]), digits.target


def tensors(array: np.ndarray) -> torch.Tensor:
    """Return images as the input of the network [n, 3, 32, 32]."""
    return (torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def train(images: torch.Tensor, targets: torch.Tensor, *, epochs: int = EPOCHS) -> torch.nn.Module:
    """Return test_nfnet, trained on images [n, 3, 32, 32] with the classes targets [n]."""
    torch.manual_seed(0)
    model: torch.nn.Module = import_timm().create_model("test_nfnet", num_classes=10)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        total = 0.0
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = torch.nn.functional.cross_entropy(model(images[chosen]), targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2}: loss {total / (len(images) // BATCH):.3f}", flush=True)
    return model.eval()


def main(folder: Path) -> None:
    """Train, and write weights and images."""
    images, targets = load_images()
    known, unseen, known_targets, unseen_targets = train_test_split(
        images, targets, test_size=HELD_OUT, random_state=0, stratify=targets
    )
    model = train(tensors(known), torch.from_numpy(known_targets))
    with torch.inference_mode():
        right = (model(tensors(unseen)).argmax(1).numpy() == unseen_targets).mean()
    print(f"top-1 on {HELD_OUT} held-out digits: {right:.2%}")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "digits.safetensors")
    for number, (image, target) in enumerate(zip(unseen, unseen_targets, strict=True)):
        path = folder / "images" / str(target) / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
