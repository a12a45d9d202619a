"""What a source is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nfexport.recipe.export_options import Source
from nfexport.recipe.tensor_spec import TensorSpec, parse_inputs

ImageSize = int | tuple[int, int] | Literal["train", "test"]
"""A number of pixels, (height, width), or the size at which timm trained or tests the weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model and where its weights come from.

    name is what a source understands, such as a timm architecture, or architecture.tag, which asks for those trained
    weights; instance is the model itself where it is handed over rather than named. pretrained asks for the default
    tag; checkpoint takes the weights from a file, its averaged ones or the raw ones as ema says; otherwise they are
    seeded, with seed or 0, but those of a user's own module are kept unless a seed is given. model_kwargs are
    arguments of the model's constructor, inputs and output_names those of a user's own module. named_by_user is False
    where the name is that of a recipe: a source that runs the code it is named refuses it then. Without image_size a
    source takes its own: for timm the test size where there is one, else the training size. With is_size_known the
    network is known to accept image_size, as that of a recipe, and a source need not try it."""

    name: str
    instance: object = None
    pretrained: bool = False
    checkpoint: Path | None = None
    ema: bool | None = None
    seed: int | None = None
    num_classes: int | None = None
    in_chans: int | None = None
    model_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    output_names: tuple[str, ...] = ()
    named_by_user: bool = False
    image_size: ImageSize | None = None
    is_size_known: bool = False

    @classmethod
    def of(
        cls, source: Source, *, instance: object = None, named_by_user: bool = False, output_names: Sequence[str] = ()
    ) -> ModelSpec:
        """Return what the source of a recipe, or of a request, asks for."""
        return cls(
            name=source.model,
            instance=instance,
            named_by_user=named_by_user,
            output_names=tuple(output_names),
            pretrained=source.pretrained,
            checkpoint=None if source.checkpoint is None else Path(source.checkpoint),
            ema=source.ema,
            seed=source.seed,
            num_classes=source.num_classes,
            in_chans=source.in_chans,
            model_kwargs=source.model_kwargs,
            inputs=parse_inputs(source.inputs),
            image_size=source.image_size,
        )

    @property
    def model(self) -> object:
        """What the sources are asked about: the instance, or else the name."""
        return self.name if self.instance is None else self.instance
