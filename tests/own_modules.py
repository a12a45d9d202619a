"""Torch modules as users write them, and factories of them: tests name this file as FILE.py:FACTORY."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn
from torch.nn import functional


@dataclasses.dataclass
class Answer:
    """What TwoInputs returns."""

    score: torch.Tensor
    maps: list[torch.Tensor]


class HandWritten(nn.Conv2d):
    """A weight-standardised convolution by var_mean, as ports of BiT write it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-5)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Clamped(nn.Module):
    """Another, by clamp and rsqrt over the fan-in, that is no nn.Conv2d."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, channels, 3, 3))
        self.gain = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.flatten(1)
        mean, variance = flat.mean(1, keepdim=True), flat.var(1, unbiased=False, keepdim=True)
        scale = torch.rsqrt(torch.clamp(variance * flat.shape[1], min=1e-4)) * self.gain[:, None]
        return functional.conv2d(x, ((flat - mean) * scale).view_as(self.weight), padding=1)


class TwoInputs(nn.Module):
    """An image and five numbers of metadata in; a score and two maps out."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.image = HandWritten(3, width, 3, padding=1)
        self.clamped = Clamped(width, width)
        self.meta = nn.Linear(5, width)
        self.norm = nn.GroupNorm(2, width)
        self.drop = nn.Dropout(0.5)

    def forward(self, image: torch.Tensor, meta: torch.Tensor) -> Answer:
        x = torch.relu(self.norm(self.clamped(self.image(image)))) + self.meta(meta)[:, :, None, None]
        return Answer(score=self.drop(x.mean((2, 3))), maps=[x, x.amax(1)])


class Tokens(nn.Module):
    """Whole numbers and a mask in; logits of three classes out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        pooled = (self.embedding(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        logits: torch.Tensor = self.classifier(pooled)
        return logits


class Small(nn.Module):
    """A classifier of grey images."""

    def __init__(self, classes: int = 4, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, stride=2)
        self.classifier = nn.Linear(6, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.relu(self.conv(image)).mean((2, 3)))
        return logits


class Deciding(Small):
    """Decides by a number that it computes."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = super().forward(image)
        if image.mean() > 0:
            return logits * 2
        return logits


class Dropping(Small):
    """Drops elements in evaluation mode too."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.dropout(super().forward(image), 0.5, training=True)


class Talking(Small):
    """Returns a number and a text besides a tensor."""

    def forward(self, image: torch.Tensor) -> Any:
        return {"logits": super().forward(image), "note": "a text"}


class Kinds(Small):
    """Returns whole numbers, truth values and a single number."""

    def forward(self, image: torch.Tensor) -> Any:
        logits = super().forward(image)
        return {"best": logits.argmax(-1), "above": logits > 0, "total": logits.sum()}


def two_inputs(width: int = 8) -> nn.Module:
    """Return a TwoInputs."""
    return TwoInputs(width)


def failing() -> nn.Module:
    """Raise an error, as a factory without its data does."""
    raise OSError("the weights are not here")


def nothing() -> None:
    """Return no module."""


def half() -> nn.Module:
    """Return a module in half precision."""
    return Small().half()


def without_weights() -> nn.Module:
    """Return a module on the meta device."""
    with torch.device("meta"):
        return Small()


NUMBER = 3
