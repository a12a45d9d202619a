"""A preset as a value, and what it asks of an export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from nfexport.recipe.about import About, Accuracy
from nfexport.recipe.validation import Above0, Finite, Positive

Form = Literal["original", "converted"]
FORMS: tuple[Form, ...] = get_args(Form)

Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]

BYTE = 255.0
DIGITS = 12
"""Of a mean in 0..1: 123.675 / 255 is 0.485."""


class DocumentedWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights that a document describes: timm's tag, or the checkpoint by its name and checksum."""

    tag: Text | None = None
    file: Text | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")] | None = None
    sha384: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{96}$")] | None = None


class ImagePreparation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are prepared: mean and scale are per channel, in RGB, for pixels in 0..255; resize is what
    the shorter side (crop mode 'center'), the longer ('border') or both ('squash') become, in pixels."""

    mean: Annotated[tuple[Finite, ...], msgspec.Meta(min_length=1)]
    scale: Annotated[tuple[Above0, ...], msgspec.Meta(min_length=1)]
    resize: Positive
    crop_mode: Literal["center", "squash", "border"] = "center"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a preset file holds: one documented model.

    original takes RGB, normalised outside; converted takes BGR in 0..255 and normalises inside. names maps
    'input' and each output's default name to the documented one; image_size is (height, width) in pixels.
    checkpoint, num_classes and labels are for users' own networks."""

    title: Text
    summary: str = ""
    model: Text
    image_size: tuple[Positive, Positive]
    batch: Positive | Literal["dynamic"] = "dynamic"
    opset: Positive
    outputs: Annotated[
        tuple[Literal["logits", "probs", "sigmoid", "topk", "features", "embedding", "embedding-unpooled"], ...],
        msgspec.Meta(min_length=1),
    ]
    default_form: Form = "original"
    top_k: Positive = 5
    checkpoint: Path | None = None
    num_classes: Positive | None = None
    labels: Texts | None = None
    licence: Text | None = None
    dataset: Text | None = None
    origin: Text | None = None
    citations: tuple[Text, ...] = ()
    images: ImagePreparation
    names: Mapping[str, Text] = {}
    weights: DocumentedWeights = DocumentedWeights()
    claimed: Accuracy | None = None


class Preset(Description, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A preset by its name, and path, the file that it was read from."""

    name: str
    path: Path

    @property
    def input_name(self) -> str:
        """The documented name of the input."""
        return self.names.get("input", "input")

    def export_options(self, form: Form) -> dict[str, Any]:
        """Return what nfexport.export has to be told, but for model, weights and file."""
        names = {key: value for key, value in self.names.items() if key != "input"}
        options: dict[str, Any] = {
            "opset": self.opset,
            "image_size": self.image_size,
            "batch": self.batch,
            "fold_ws": True,
            "input_name": self.input_name,
            "outputs": self.outputs,
            "top_k": self.top_k,
            "num_classes": self.num_classes,
            "labels": self.labels,
            "mean": tuple(round(number / BYTE, DIGITS) for number in self.images.mean),
            "std": tuple(round(number / BYTE, DIGITS) for number in self.images.scale),
            "crop_pct": self._crop_pct(),
            "crop_mode": self.images.crop_mode,
            "interpolation": self.images.interpolation,
        }
        if len(self.outputs) == 1 and self.outputs[0] not in ("topk", "features"):
            options["output_name"] = next(iter(names.values()), None)
        elif names:
            options["rename"] = names
        if form == "converted":
            options |= {"normalize": "nodes", "channels": "bgr", "input_range": BYTE}
        return options

    def about(self, form: Form) -> About:
        """Return what goes into the file next to its recipe."""
        return About(
            title=self.title,
            summary=self.summary,
            preset=self.name,
            form=form,
            licence=self.licence,
            dataset=self.dataset,
            origin=self.origin,
            citations=self.citations,
            claimed=self.claimed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return plain

    def _crop_pct(self) -> float:
        """Return the share c with the fewest digits for which ⌊size / c⌋ = resize, timm's formula."""
        size, resize = max(self.image_size), self.images.resize
        rounded = (round(size / resize, digits) for digits in range(2, DIGITS))
        return next((share for share in rounded if math.floor(size / share) == resize), size / resize)
