"""The recipe: one immutable value that determines an ONNX file, byte for byte.

Standard library only, so that reading a recipe costs nothing. It holds no time, no path and no host name:
two people with the same recipe and the same weights write the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from nfexport.errors import RecipeError

RECIPE_FORMAT = 2
"""Version of the recipe's layout; raised when a reader of the old layout would misread the new one."""

WeightsKind = Literal["seeded", "pretrained", "checkpoint"]

OutputKind = Literal["logits", "probs", "topk-values", "topk-indices", "features", "embedding", "embedding-unpooled"]

SCORES: tuple[OutputKind, ...] = ("probs", "topk-values", "topk-indices")
"""The outputs that follow from the logits, by operators behind the network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights come from, and what they are.

    digest is the sha256 of the state dict (names, dtypes, shapes and bytes, in sorted order of names).
    """

    kind: WeightsKind
    digest: str
    seed: int | None = None
    tag: str | None = None

    def describe(self) -> str:
        """Say it in plain words, for a report."""
        if self.kind == "seeded":
            return f"seeded (seed {self.seed}), untrained; add --pretrained for trained ones"
        if self.kind == "pretrained":
            return f"pretrained, timm tag {self.tag}"
        return f"from a checkpoint (state dict sha256 {self.digest[:12]}…)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What the caller does to a picture before it enters the file; timm's evaluation transform.

        x[c] = (low + (high − low) · pixel[c] − mean[c]) / std[c],  value_range = (low, high), pixel in [0, 1]

    mean and std are per channel, in the model's channel order. crop_mode 'none' means that pictures of any
    size are taken as they are. dtype and layout are those of the tensor that the caller hands over.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str
    interpolation: str
    channel_order: str = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)
    dtype: str = "float32"
    layout: str = "nchw"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassStep:
    """One graph pass by its name, with its parameters."""

    name: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One output tensor of a file: what it is, and its name.

    level is the index of a feature map as timm counts them, k the number of classes that a TopK gives."""

    kind: OutputKind
    name: str
    level: int | None = None
    k: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines an exported file.

    image_size is (height, width) of the network's own picture, in pixels, and dynamic_size says whether the
    file takes others too; batch is a fixed size or 'dynamic'; passes run in the order given, surgery holds
    those that were applied to the finished file; labels names where the class names come from
    ('imagenet-1k'), or holds the names themselves, or is None when nobody knows.
    """

    architecture: str
    weights: Weights
    image_size: tuple[int, int]
    in_channels: int
    num_classes: int
    batch: int | Literal["dynamic"]
    opset: int
    exporter: Literal["torchscript", "dynamo"]
    passes: tuple[PassStep, ...]
    input_name: str
    outputs: tuple[Output, ...]
    preprocessing: Preprocessing
    labels: str | tuple[str, ...] | None
    versions: Mapping[str, str]
    dynamic_size: bool = False
    surgery: tuple[PassStep, ...] = ()
    format: int = RECIPE_FORMAT

    @property
    def model_name(self) -> str:
        """The name that timm knows the weights by: architecture, and tag if trained."""
        tag = self.weights.tag
        return f"{self.architecture}.{tag}" if tag else self.architecture

    def to_json(self) -> str:
        """Return the canonical form: keys sorted, no spaces, ASCII only."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def digest(self) -> str:
        """The sha256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what to_json wrote.

        Raises RecipeError if the text is no recipe, is of a newer format, or lacks or adds a field."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"the recipe is not JSON ({error})", fix="export the model again") from error
        if not isinstance(raw, dict) or "format" not in raw:
            raise RecipeError("the recipe is not one of nfexport's", fix="export the model again")
        if raw["format"] != RECIPE_FORMAT:
            raise RecipeError(
                f"the recipe has format {raw['format']!r}, this nfexport reads {RECIPE_FORMAT}",
                fix="update nfexport, or export the model again",
            )
        try:
            raw["weights"] = Weights(**raw["weights"])
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in raw["preprocessing"].items()
            }
            raw["preprocessing"] = Preprocessing(**fields)
            raw["passes"] = tuple(PassStep(**step) for step in raw["passes"])
            raw["surgery"] = tuple(PassStep(**step) for step in raw["surgery"])
            raw["outputs"] = tuple(Output(**output) for output in raw["outputs"])
            raw["image_size"] = tuple(raw["image_size"])
            if isinstance(raw["labels"], list):
                raw["labels"] = tuple(raw["labels"])
            return cls(**raw)
        except (TypeError, KeyError, AttributeError) as error:
            raise RecipeError(
                f"the recipe does not have the fields of format {RECIPE_FORMAT} ({error})",
                fix="export the model again",
            ) from error
