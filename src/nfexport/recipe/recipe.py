"""The recipe: one immutable value that determines an ONNX file, byte for byte.

    recipe = source + options + operations,  and what they resolved to when the file was written

It can be executed again: nfexport.export(recipe), nfexport.rebuild(file). It holds no time, path or host name, so the
same recipe and the same weights always give the same bytes. Importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from nfexport.errors import RecipeError
from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.tensor_spec import TensorSpec
from nfexport.recipe.validation import Above0, Digest, Finite, Natural, Pixels, Positive, convert, parse_json

RECIPE_FORMAT: Final = 3
"""Version of the recipe's layout; raised when a reader of the old layout would misread the new one."""

WeightsKind = Literal["seeded", "pretrained", "checkpoint", "hub", "module"]
"""seeded by nfexport; pretrained, of a timm tag; of a checkpoint; of a repository in the layout of timm's push to the
hub; the own weights of a user's module."""

OutputKind = Literal[
    "logits",
    "probs",
    "sigmoid",
    "topk-values",
    "topk-indices",
    "features",
    "embedding",
    "embedding-unpooled",
    "tensor",
]
"""'tensor' is what a user's own module returns, of whatever meaning."""

SCORES: tuple[OutputKind, ...] = ("probs", "sigmoid", "topk-values", "topk-indices")
"""The outputs that operators after the network compute from the logits."""

CropMode = Literal["center", "squash", "border", "none"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "none"]
"""timm's crop modes; 'none' if the file accepts images of any size."""

WHAT = "the recipe"

T = TypeVar("T")


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the weights come from, and what they are.

    digest is the sha256 of the state dict (names, dtypes, shapes and bytes, in sorted order of names). seed is that
    of seeded weights; of others, that of a classifier for another number of classes than they were trained with.
    """

    kind: WeightsKind
    digest: Digest
    seed: Natural | None = None
    tag: str | None = None

    def describe(self) -> str:
        """Return a description for a report."""
        if self.kind == "seeded":
            return f"seeded (seed {self.seed}), untrained; add --pretrained for trained ones"
        classifier = "" if self.seed is None else f", with a seeded classifier (seed {self.seed})"
        if self.kind == "pretrained":
            return f"pretrained, timm tag {self.tag}{classifier}"
        places = {"hub": "from the repository", "module": "the module's own"}
        where = places.get(self.kind, "from a checkpoint")
        return f"{where} (state dict sha256 {self.digest[:12]}…){classifier}"


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preprocessing of an image before it enters the file; timm's evaluation transform.

        x[c] = (low + (high − low) · pixel[c] − mean[c]) / std[c],  value_range = (low, high), pixel in [0, 1]

    mean and std are per channel, in the model's channel order. crop_mode 'none' means that images of any
    size are taken as they are. dtype and layout are those of the tensor that the caller hands over.
    """

    mean: tuple[Finite, ...]
    std: tuple[Above0, ...]
    crop_pct: Above0
    crop_mode: CropMode
    interpolation: Interpolation
    channel_order: Literal["rgb", "bgr"] = "rgb"
    value_range: tuple[Finite, Finite] = (0.0, 1.0)
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    layout: Literal["nchw", "nhwc"] = "nchw"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"there are {len(self.mean)} means and {len(self.std)} standard deviations")


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the code of a third-party pass comes from, and what the pass declares that it may change.

    name is 'module:Class', sha256 that of the file that defines it; package and version are there if it is
    installed."""

    name: str
    sha256: Digest
    package: str | None = None
    version: str | None = None
    changes: tuple[str, ...] = ()


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a model comes from that timm does not know by name.

    source is the kind of source (the file in nfexport/sources), name what it was given, without the folders of a
    path. package and version are those of the package that defines a module, if it is installed; revision is a commit
    of a hub repository; files are the sha256 of the files that it was made from, by name."""

    source: str
    name: str
    package: str | None = None
    version: str | None = None
    revision: str | None = None
    files: Mapping[str, Digest] = {}


class PassStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One graph pass by its name, with its parameters."""

    name: str
    params: Mapping[str, Any] = {}
    origin: Origin | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output tensor of a file: what it is, and its name.

    level is the index of a feature map as timm counts them, k the number of classes that a TopK gives. index is the
    position of a 'tensor' among the tensors that a module returns."""

    kind: OutputKind
    name: str
    level: Natural | None = None
    k: Positive | None = None
    index: Natural | msgspec.UnsetType = msgspec.UNSET


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An operation on the finished file: a surgery or a quantisation.

    options are those that were asked for, by keyword; steps are the passes that ran, in order."""

    command: Literal["surgery", "quantize"]
    options: Mapping[str, Any] = {}
    steps: tuple[PassStep, ...] = ()


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that determines an exported file.

    source and options are what was asked for, operations what was done to the finished file afterwards. The other
    fields are what they resolved to, and describe the file as it is now: image_size is (height, width) of the
    network's own image, in pixels, and dynamic_size says whether the file takes others too; batch is a fixed size or
    'dynamic'; passes ran in the order given; labels names where the class names come from ('imagenet-1k'), or holds
    the names themselves, or is None where they are unknown.

    inputs are there for a model that takes other than one image, and then image_size, in_channels and preprocessing
    are not: their properties raise RecipeError. provenance is there where the name alone does not tell where a model
    is from."""

    source: Source
    options: ExportOptions
    architecture: str
    weights: Weights
    stored_image_size: tuple[Pixels, Pixels] | None = msgspec.field(name="image_size")
    stored_in_channels: Positive | None = msgspec.field(name="in_channels")
    num_classes: Natural
    batch: Positive | Literal["dynamic"]
    opset: Positive
    exporter: Literal["torchscript", "dynamo"]
    passes: tuple[PassStep, ...]
    input_name: str
    outputs: tuple[Output, ...]
    stored_preprocessing: Preprocessing | None = msgspec.field(name="preprocessing")
    labels: str | tuple[str, ...] | None
    versions: Mapping[str, str]
    dynamic_size: bool = False
    operations: tuple[Operation, ...] = ()
    provenance: Provenance | msgspec.UnsetType = msgspec.UNSET
    inputs: tuple[TensorSpec, ...] | msgspec.UnsetType = msgspec.UNSET
    format: Literal[3] = RECIPE_FORMAT

    @property
    def model_name(self) -> str:
        """The name that timm knows the weights by: architecture, and tag if trained."""
        tag = self.weights.tag
        return f"{self.architecture}.{tag}" if tag else self.architecture

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The inputs of a model that takes other than one image; empty for one that does."""
        return () if self.inputs is msgspec.UNSET else self.inputs

    @property
    def takes(self) -> str:
        """The inputs in words, for a message."""
        return ", ".join(spec.describe() for spec in self.tensors) or f"one image, {self.input_name}"

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's own image in pixels."""
        return self._of_images(self.stored_image_size)

    @property
    def in_channels(self) -> int:
        """The number of channels of the network's image."""
        return self._of_images(self.stored_in_channels)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing that is left to the caller of the file."""
        return self._of_images(self.stored_preprocessing)

    def _of_images(self, stored: T | None) -> T:
        if stored is None:
            raise RecipeError(
                f"{self.model_name} takes {self.takes}, not one image", fix="use a command that is not for images"
            )
        return stored

    @property
    def surgery(self) -> tuple[PassStep, ...]:
        """The steps of all operations, in order."""
        return tuple(step for operation in self.operations for step in operation.steps)

    @property
    def steps(self) -> tuple[PassStep, ...]:
        """Every step from the traced graph to the file, in order."""
        return (*self.passes, *self.surgery)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_json(self) -> str:
        """Return the canonical form: keys sorted, no spaces, ASCII only."""
        return canonical(self)

    @property
    def digest(self) -> str:
        """The sha256 of the canonical form, in hexadecimal."""
        import hashlib

        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read the result of to_json.

        Raises RecipeError if the text is not a recipe, is of another format, or has a field that is unknown, missing,
        of another type, out of range, or holds control characters or markup."""
        return cls.from_plain(parse_json(text, WHAT))

    @classmethod
    def from_plain(cls, raw: Any) -> Recipe:
        """Return the recipe of plain values; see from_json."""
        if not isinstance(raw, dict) or "format" not in raw:
            raise RecipeError("the recipe is not one of nfexport's", fix="export the model again")
        if raw["format"] != RECIPE_FORMAT or isinstance(raw["format"], bool):
            raise RecipeError(
                f"the recipe has format {str(raw['format'])[:20]}, this nfexport reads {RECIPE_FORMAT}",
                fix="update nfexport, or export the model again",
            )
        return convert(raw, cls, WHAT)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII only."""
    import json

    plain = msgspec.to_builtins(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
