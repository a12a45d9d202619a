"""A preset as a value, and what it asks of an export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from nfexport.recipe.about import About, Accuracy

Form = Literal["original", "converted"]
FORMS: tuple[Form, ...] = ("original", "converted")

BYTE = 255.0
DIGITS = 12
"""Of a mean in 0..1: 123.675 / 255 is 0.485."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentedWeights:
    """The weights that a document speaks of: timm's tag, or the checkpoint by its name and checksum."""

    tag: str | None = None
    file: str | None = None
    sha256: str | None = None
    sha384: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """How pictures are prepared: mean and scale are per channel, in RGB, for pixels in 0..255; resize is what
    the shorter side (crop mode 'center'), the longer ('border') or both ('squash') become, in pixels."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    resize: int
    crop_mode: str = "center"
    interpolation: str = "bicubic"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """One documented model.

    original takes RGB, normalised outside; converted takes BGR in 0..255 and normalises inside. names maps
    'input' and each output's default name to the documented one; image_size is (height, width) in pixels.
    path is the file that it was read from; checkpoint, num_classes and labels are for users' own networks."""

    name: str
    path: Path
    title: str
    summary: str
    model: str
    image_size: tuple[int, int]
    batch: int | Literal["dynamic"]
    opset: int
    outputs: tuple[str, ...]
    pictures: Pictures
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default_form: Form = "original"
    top_k: int = 5
    weights: DocumentedWeights = DocumentedWeights()
    checkpoint: Path | None = None
    num_classes: int | None = None
    labels: tuple[str, ...] | None = None
    licence: str | None = None
    dataset: str | None = None
    origin: str | None = None
    citations: tuple[str, ...] = ()
    claimed: Accuracy | None = None

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
            "network": {
                "mean": tuple(round(number / BYTE, DIGITS) for number in self.pictures.mean),
                "std": tuple(round(number / BYTE, DIGITS) for number in self.pictures.scale),
                "crop_pct": self._crop_pct(),
                "crop_mode": self.pictures.crop_mode,
                "interpolation": self.pictures.interpolation,
            },
            "about": self.about(form),
        }
        if len(self.outputs) == 1 and self.outputs[0] in ("logits", "probs", "embedding", "embedding-unpooled"):
            options["output_name"] = next(iter(names.values()), None)
        elif names:
            options["rename"] = names
        if form == "converted":
            options |= {"normalize": "nodes", "channels": "bgr", "input_range": BYTE}
        return options

    def about(self, form: Form) -> About:
        """Return what goes into the file beside its recipe."""
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
        fields = dataclasses.asdict(self)
        checkpoint = None if self.checkpoint is None else str(self.checkpoint)
        return {**fields, "path": str(self.path), "checkpoint": checkpoint}

    def _crop_pct(self) -> float:
        """The roundest share c with ⌊size / c⌋ = resize, as timm computes the one from the other."""
        size, resize = max(self.image_size), self.pictures.resize
        rounded = (round(size / resize, digits) for digits in range(2, DIGITS))
        return next((share for share in rounded if math.floor(size / share) == resize), size / resize)
