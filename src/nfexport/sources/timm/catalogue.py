"""timm's architectures, their trained weights, and which of them standardise weights."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from importlib.resources import files

import torch

from nfexport.sources.timm.standardised_layers import standardised_convolutions
from nfexport.sources.timm.torchvision_operators import import_timm

_TABLE = "weight_standardised.txt"
"""The architectures with weight standardisation, one a line; finding them takes minutes (see find_standardised)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """An architecture: the tags of its trained weights, and whether it standardises weights."""

    architecture: str
    tags: tuple[str, ...]
    weight_standardised: bool


def list_architectures(pattern: str | None) -> list[ArchitectureEntry]:
    """Return timm's architectures by name; pattern is a part of the name, or a glob ('nf_*'); None lists all."""
    timm = import_timm()
    wildcard = f"*{pattern}*" if pattern and not set(pattern) & set("*?[") else pattern or ""
    tags: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models(pretrained=True):
        architecture, _, tag = name.partition(".")
        tags[architecture].append(tag)
    known = known_standardised()
    return [
        ArchitectureEntry(
            architecture=name,
            tags=tuple(tag for tag in tags[name] if tag),
            weight_standardised=name in known,
        )
        for name in timm.list_models(wildcard)
    ]


def known_standardised() -> frozenset[str]:
    """Return the architectures with weight standardisation, from the shipped table."""
    return frozenset(files(__package__).joinpath(_TABLE).read_text(encoding="utf-8").split())


def find_standardised() -> list[str]:
    """Build every architecture without memory for weights, and return those with weight standardisation.

    Takes minutes; the shipped table was written from it."""
    return [name for name in import_timm().list_models() if standardised_convolutions(_skeleton(name))]


def parameter_count(architecture: str) -> int:
    """Return the number of an architecture's parameters, at its default number of classes."""
    return sum(parameter.numel() for parameter in _skeleton(architecture).parameters())


def _skeleton(architecture: str) -> torch.nn.Module:
    """Build a network on the meta device, or on the CPU if it computes with its weights while it is built."""
    timm = import_timm()
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                model: torch.nn.Module = timm.create_model(architecture)
        except RuntimeError:
            # a tensor on the meta device holds no numbers; any other error is raised again here
            model = timm.create_model(architecture)
    return model
