"""The manifest of a golden, as a value and as JSON.

It holds no time, no path and no host name: the same file recorded with the same versions gives the same bytes. It is
read field by field: a manifest with an unknown field, a wrong type or a value out of range is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from nfexport.errors import GoldenError, RecipeError
from nfexport.goldens.layout import MANIFEST
from nfexport.goldens.vocabulary import (
    DataFile,
    DataFolder,
    DType,
    FileName,
    Limit,
    Text,
    printable,
)
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.recipe.validation import Digest, Natural, Pixels, Positive, check_strings

GOLDEN_FORMAT: Literal[1] = 1
"""Version of the manifest's layout; raised when a reader of the old layout would misread the new one."""

KIND: Literal["nfexport golden"] = "nfexport golden"
AGAIN = "record it again with 'nfexport golden record --force'"

Reference = Literal["pytorch", "onnxruntime"]


class Weight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stored tensor: sha256 is that of its values, little-endian, in row-major order."""

    dtype: DType
    shape: tuple[Natural, ...]
    sha256: Digest


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of a file; shape has numbers and names of dims, None where the file has no shape."""

    name: Text
    dtype: DType
    shape: tuple[int | Text, ...] | None

    def __str__(self) -> str:
        shape = "?" if self.shape is None else ", ".join(map(str, self.shape))
        return f"'{self.name}' {self.dtype} [{shape}]"


class Interface(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inputs and outputs of a file, in order."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of a data set.

    sha256 is that of the file, values_sha256 that of the numbers; sha256 is None where the file is left out
    and its numbers are drawn anew. An output has limits: max_abs and rms, absolute, one number per image; or choices,
    for the indices of a TopK: for each image and place, the classes that may stand there. An output with neither has
    to be equal."""

    name: Text
    dtype: DType
    shape: tuple[Natural, ...]
    file: DataFile
    values_sha256: Digest
    sha256: Digest | None = None
    max_abs: tuple[Limit, ...] | None = None
    rms: tuple[Limit, ...] | None = None
    choices: tuple[tuple[tuple[Natural, ...], ...], ...] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless the limits fit the shape: one number per image, or one set of classes per index."""
        if (self.max_abs is None) != (self.rms is None):
            raise ValueError(f"'{self.name}' has only one of the limits max_abs and rms")
        rules = [rule for rule in (self.max_abs, self.rms, self.choices) if rule is not None]
        if rules and (not self.shape or 0 in self.shape or not self.dtype.startswith(("float", "int", "uint"))):
            raise ValueError(f"'{self.name}' has limits, but no numbers to compare")
        for rule in rules:
            if len(rule) != self.shape[0]:
                raise ValueError(f"'{self.name}' has {len(rule)} limits for {self.shape[0]} images")
        for places in self.choices or ():
            if self.shape[1:] != (len(places),):
                raise ValueError(
                    f"'{self.name}' has choices for {len(places)} places, which are not those of its shape"
                )


class DataSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One batch of inputs with its expected outputs; case names the kinds of its images."""

    folder: DataFolder
    case: Text
    batch: Positive
    inputs: tuple[Tensor, ...]
    outputs: Annotated[tuple[Tensor, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Raise ValueError if an output has no file."""
        for tensor in self.outputs:
            if tensor.sha256 is None:
                raise ValueError(f"the output '{tensor.name}' has no sha256")


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What determines the inputs, next to the seed: fields as in nfexport.verification's ModelUnderTest."""

    input_name: Text
    batch: Positive | Literal["dynamic"]
    image_size: tuple[Pixels, Pixels]
    in_channels: Positive
    preprocessing: Preprocessing
    steps: tuple[PassStep, ...]
    other_sizes: tuple[tuple[Pixels, Pixels], ...]
    weights_kept: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a golden.

    reference is the source of the expected outputs: PyTorch in float64, or the file itself in ONNX Runtime. recipe is
    the recipe of the file, None if it has none. subject, with seed, determines the inputs, None where they cannot be
    drawn anew. weights_sha256 is the digest of all weights; nodes_sha256 that of the nodes, in order."""

    file: FileName
    reference: Reference
    seed: Natural
    recipe_sha256: Digest | None
    recipe: Mapping[str, Any] | None
    interface: Interface
    opset_imports: Mapping[Text, int]
    operators: Mapping[Text, Natural]
    nodes_sha256: Digest
    weights_sha256: Digest
    weights: Mapping[Text, Weight]
    tolerance: Text
    data_sets: Annotated[tuple[DataSet, ...], msgspec.Meta(min_length=1)]
    subject: InputSpec | None
    versions: Mapping[Text, Text]
    kind: Literal["nfexport golden"] = KIND
    format: Literal[1] = GOLDEN_FORMAT

    @property
    def model_name(self) -> str | None:
        """The architecture that the file is of; None for a file without a recipe."""
        return None if self.recipe is None else printable(str(self.recipe.get("architecture")))

    @property
    def compact(self) -> bool:
        """True if the inputs are left out."""
        return any(tensor.sha256 is None for data_set in self.data_sets for tensor in data_set.inputs)

    def to_json(self) -> str:
        """Return it for people and for git: sorted keys, a line for each entry, innermost values on one line."""
        raw = msgspec.to_builtins(self)
        for data_set in raw["data_sets"]:
            for end in ("inputs", "outputs"):
                data_set[end] = [{k: v for k, v in tensor.items() if v is not None} for tensor in data_set[end]]
        return _layout(raw, "") + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: Path) -> Manifest:
        """Read what to_json wrote; source names it in messages.

        Raises GoldenError if it is not a manifest, is of another format, or has a field that is missing, unknown,
        of another type or out of range."""
        try:
            raw = msgspec.json.decode(text)
            if not isinstance(raw, dict) or raw.get("kind") != KIND:
                raise GoldenError(
                    f"'{source}' is not the manifest of a golden", fix="name another folder with --golden"
                )
            if raw.get("format") != GOLDEN_FORMAT:
                found = printable(str(raw.get("format"))[:20])
                raise GoldenError(
                    f"'{source}' has format {found}, this nfexport reads {GOLDEN_FORMAT}",
                    fix=f"update nfexport, or {AGAIN}",
                )
            check_strings(raw.get("recipe"), "its recipe")
            return msgspec.convert(raw, cls)
        except RecipeError as error:
            raise GoldenError(f"'{source}' cannot be trusted: {error.problem}", fix=AGAIN) from error
        except msgspec.ValidationError as error:
            raise GoldenError(
                f"'{source}' does not have the fields of format {GOLDEN_FORMAT} ({_reason(error)})", fix=AGAIN
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GoldenError(f"'{source}' is not JSON ({error})", fix=AGAIN) from error
        except RecursionError as error:
            raise GoldenError(f"'{source}' is nested too deeply", fix=AGAIN) from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a golden. Raises GoldenError as from_json does, and if there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise GoldenError(f"'{folder}' is not a golden: it has no {MANIFEST}", fix=AGAIN)
    try:
        return Manifest.from_json(path.read_bytes(), path)
    except OSError as error:
        raise GoldenError(f"'{path}' cannot be read ({error.strerror})", fix=AGAIN) from error


def _reason(error: msgspec.ValidationError) -> str:
    """Return what msgspec says of a value, without regular expressions, and fit to be printed."""
    text = re.sub(r"Expected `str` matching regex '.*' - at", "a string is not of the expected form - at", str(error))
    return printable(text[:1].lower() + text[1:])


def _layout(value: Any, indent: str) -> str:
    """Return JSON in which mappings of mappings stand on lines of their own, and short ones on one."""
    flat = json.dumps(value, sort_keys=True, ensure_ascii=True)
    if len(indent) + len(flat) <= 140 or not isinstance(value, Mapping | list | tuple):
        return flat
    deeper = indent + " "
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(key)}: {_layout(value[key], deeper)}" for key in sorted(value)]
    else:
        parts = [_layout(entry, deeper) for entry in value]
    first, last = "{}" if isinstance(value, Mapping) else "[]"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{last}"
