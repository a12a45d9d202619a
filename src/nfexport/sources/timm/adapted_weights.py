"""Trained weights for another number of classes or channels.

timm itself adapts the first convolution, but leaves a new classifier at random numbers, which differ from run to run.
"""

from __future__ import annotations

from typing import Any

import torch

from nfexport.errors import CheckpointError, RecipeError
from nfexport.sources.timm.blueprint import Blueprint
from nfexport.sources.timm.seeded_weights import seed_parameters


def with_seeded_classifier(
    state: dict[str, torch.Tensor], module: torch.nn.Module, plan: Blueprint, seed: int
) -> dict[str, torch.Tensor]:
    """Return the state dict with a seeded classifier of the module's own shape in place of the trained one.

    Raises RecipeError if it is unknown which layers are the classifier."""
    if not plan.classifiers:
        raise RecipeError(
            f"timm does not name the classifier of {plan.name.architecture}, so that it cannot be replaced",
            fix="leave --num-classes out",
        )
    seed_parameters(module, seed, plan.classifiers)
    prefixes = tuple(f"{layer}." for layer in plan.classifiers)
    own = {name: tensor for name, tensor in module.state_dict().items() if name.startswith(prefixes)}
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)} | own


def adapt_channels(
    state: dict[str, torch.Tensor], module: torch.nn.Module, plan: Blueprint, trained: int
) -> dict[str, torch.Tensor]:
    """Return the state dict with its first convolutions, trained with so many channels, for those of the module.

    Raises RecipeError if timm has no rule for it."""
    check_adaptable(module, plan, trained)
    from timm.models._manipulate import adapt_input_conv

    adapted = dict(state)
    for layer in plan.first_convolutions:
        name = f"{layer}.weight"
        if name not in state or state[name].shape == module.get_parameter(name).shape:
            continue
        if state[name].shape[1] != trained:
            raise _not_adaptable(plan)
        # timm's rule for 3 channels; its older releases know no other
        words: dict[str, Any] = {} if trained == 3 else {"base_chans": trained}
        try:
            adapted[name] = adapt_input_conv(plan.in_chans, state[name], **words)
        # what timm's releases raise for channels that they cannot adapt
        except (NotImplementedError, TypeError, AssertionError) as error:
            raise _not_adaptable(plan) from error
    return adapted


def check_adaptable(module: torch.nn.Module, plan: Blueprint, trained: int) -> None:
    """Raise RecipeError unless timm adapts the first convolutions to the number of channels.

    Where it cannot, it leaves a layer at random numbers."""
    if not plan.first_convolutions:
        raise _not_adaptable(plan)
    for layer in plan.first_convolutions:
        weight: Any = getattr(module.get_submodule(layer), "weight", None)
        if weight is None or weight.ndim != 4 or weight.shape[1] != plan.in_chans:
            raise _not_adaptable(plan)


def load_all(module: torch.nn.Module, state: dict[str, torch.Tensor], plan: Blueprint) -> None:
    """Load every tensor. Raises CheckpointError if one is missing or left over."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise CheckpointError(
            f"the trained weights of {plan.name.full} do not fit {plan.cfg.num_classes} classes ({lines[-1]})",
            fix="leave --num-classes out",
        ) from error


def note_of_classes(plan: Blueprint, trained: int, seed: int) -> str:
    """Return the sentence that tells of the seeded classifier."""
    return (
        f"the classifier of {plan.cfg.num_classes} classes is seeded (seed {seed}) and untrained; "
        f"the trained one has {trained}"
    )


def note_of_channels(plan: Blueprint, trained: int) -> str:
    """Return the sentence that tells of the adapted first convolution."""
    how = "summed" if plan.in_chans == 1 else "repeated and scaled"
    return f"the first convolution, trained with {trained} channels, is {how} for {plan.in_chans}, as timm does"


def _not_adaptable(plan: Blueprint) -> RecipeError:
    return RecipeError(
        f"the trained weights of {plan.name.full} cannot be adapted to {plan.in_chans} channels",
        fix="leave --in-chans out, or pass --checkpoint FILE with weights of so many channels",
    )
