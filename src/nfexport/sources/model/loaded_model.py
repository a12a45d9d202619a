"""What every source returns: a torch model, and what is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nfexport.errors import RecipeError
from nfexport.recipe.about import About
from nfexport.recipe.recipe import Preprocessing, Provenance, Weights
from nfexport.recipe.tensor_spec import TensorSpec

if TYPE_CHECKING:
    import torch

    from nfexport.sources.model.module_call import ModuleCall


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The image that a network takes: float32 [batch, channels, height, width], sizes in pixels."""

    channels: int
    height: int
    width: int


UNCHANGED = Preprocessing(mean=(0.0,), std=(1.0,), crop_pct=1.0, crop_mode="none", interpolation="none")
"""What is done to tensors that are not images: nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A torch model in evaluation mode, in float32, and what is known of it.

    architecture, with weights.tag, is the name by which a recipe finds the model again (see model_name). weights says
    where the weights come from and holds their digest. num_classes is 0 without a classifier. labels names where the
    class names come from ('imagenet-1k'), or holds them, or is None if they are unknown. about is what the source
    says of trained weights: their licence, origin and papers. packages are the installed packages that decide what is
    built, next to torch, and whose versions a recipe records. provenance tells where the model itself comes from, if
    its name does not. resolved holds fields of the recipe's source that the source found out by itself, such as what
    a checkpoint says of its architecture: a recipe without the checkpoint needs them. notes are sentences for the
    report, such as what was read from a checkpoint, or what was seeded.

    A model takes one image, which input and preprocessing describe, or what tensors describe; then input is None and
    preprocessing is UNCHANGED. call says how a user's own module is called, and options holds the export options that
    its inputs determine. own_preprocessing is what the source says, where preprocessing is a recipe's instead."""

    module: torch.nn.Module
    architecture: str
    weights: Weights
    input: InputSpec | None
    num_classes: int
    preprocessing: Preprocessing
    labels: str | tuple[str, ...] | None
    about: About | None = None
    packages: tuple[str, ...] = ()
    provenance: Provenance | None = None
    resolved: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tensors: tuple[TensorSpec, ...] = ()
    call: ModuleCall | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own_preprocessing: Preprocessing | None = None

    @property
    def image(self) -> InputSpec:
        """The image that the model takes. Raises RecipeError if it takes something else."""
        if self.input is None:
            takes = ", ".join(spec.describe() for spec in self.tensors)
            raise RecipeError(
                f"{self.model_name} takes {takes}, not one image", fix="leave out the options that are for images"
            )
        return self.input

    @property
    def image_size(self) -> tuple[int, int]:
        """The (height, width) of the network's input, in pixels."""
        return self.image.height, self.image.width

    @property
    def in_channels(self) -> int:
        """The number of channels of the network's input."""
        return self.image.channels

    @property
    def model_name(self) -> str:
        """The name that the source knows the weights by: architecture, and tag if trained."""
        tag = self.weights.tag
        return f"{self.architecture}.{tag}" if tag else self.architecture
