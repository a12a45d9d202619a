"""A source: 'toy:relu', a small network with seeded weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.errors import RecipeError, UnknownModelError
from nfexport.recipe.recipe import Preprocessing, Weights
from nfexport.sources import InputSpec, LoadedModel, ModelSpec

if TYPE_CHECKING:
    import torch

NAME = "toy:relu"


def matches(model: object, /) -> bool:
    """Say whether a name is one of ours."""
    return isinstance(model, str) and model.startswith("toy:")


def load(spec: ModelSpec, /) -> LoadedModel:
    """Build the network."""
    if spec.name != NAME:
        raise UnknownModelError(f"there is no toy '{spec.name}'", fix=f"pass {NAME}")
    sizes = (spec.num_classes in (None, 4), spec.image_size in (None, 16, (16, 16)))
    if spec.checkpoint is not None or spec.pretrained or not all(sizes):
        raise RecipeError(
            f"{NAME} has seeded weights, 4 classes and images of 16 pixels",
            fix="leave out --checkpoint, --pretrained, --num-classes and --image-size",
        )
    from nfexport.sources.model.digest import state_digest

    module = _network(spec.seed or 0)
    return LoadedModel(
        module=module,
        architecture=NAME,
        weights=Weights(kind="seeded", digest=state_digest(module), seed=spec.seed or 0),
        input=InputSpec(channels=3, height=16, width=16),
        num_classes=4,
        preprocessing=Preprocessing(
            mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop_pct=1.0, crop_mode="center", interpolation="bicubic"
        ),
        labels=None,
    )


def _network(seed: int) -> torch.nn.Module:
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network
