"""The manifest of a golden, as a value and as JSON. Standard library only.

It holds no time, no path and no host name: the same file recorded with the same versions gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from nfexport.errors import GoldenError
from nfexport.goldens.layout import MANIFEST

GOLDEN_FORMAT = 1
"""Version of the manifest's layout; raised when a reader of the old layout would misread the new one."""

KIND = "nfexport golden"
AGAIN = "record it again with 'nfexport golden record --force'"

Reference = Literal["pytorch", "onnxruntime"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weight:
    """A stored tensor: sha256 is that of its values, little-endian, in row-major order."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output of a data set.

    sha256 is that of the file, values_sha256 that of the numbers; sha256 is None where the file is left out
    and its numbers are drawn anew. An output has limits: max_abs and rms, absolute, one number for each
    picture; or choices, for the indices of a TopK: for each picture and place, the classes that may stand
    there. One with neither has to be met exactly."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    values_sha256: str
    sha256: str | None = None
    max_abs: tuple[float, ...] | None = None
    rms: tuple[float, ...] | None = None
    choices: tuple[tuple[tuple[int, ...], ...], ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """One batch: case says what the pictures are."""

    folder: str
    case: str
    batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that a golden says of its file.

    reference is what the expected outputs come from: PyTorch in float64, or the file itself in ONNX Runtime.
    interface has the inputs and outputs as name, dtype and shape; recipe is the file's, None if it has none.
    subject, with seed, determines the inputs, None where they cannot be drawn anew. weights_sha256 is the
    digest of all of weights; nodes_sha256 that of the nodes, in their order."""

    file: str
    reference: Reference
    seed: int
    recipe_sha256: str | None
    recipe: Mapping[str, Any] | None
    interface: Mapping[str, tuple[Mapping[str, Any], ...]]
    opset_imports: Mapping[str, int]
    operators: Mapping[str, int]
    nodes_sha256: str
    weights_sha256: str
    weights: Mapping[str, Weight]
    tolerance: str
    data_sets: tuple[DataSet, ...]
    subject: Mapping[str, Any] | None
    versions: Mapping[str, str]
    kind: str = KIND
    format: int = GOLDEN_FORMAT

    @property
    def model_name(self) -> str | None:
        """The architecture that the file is of; None for a file without a recipe."""
        return None if self.recipe is None else str(self.recipe.get("architecture"))

    @property
    def compact(self) -> bool:
        """True if the inputs are left out."""
        return any(tensor.sha256 is None for data_set in self.data_sets for tensor in data_set.inputs)

    def to_json(self) -> str:
        """Return it for people and for git: sorted keys, a line for each entry, innermost values on one line."""
        raw = dataclasses.asdict(self)
        for data_set in raw["data_sets"]:
            for end in ("inputs", "outputs"):
                data_set[end] = [{k: v for k, v in tensor.items() if v is not None} for tensor in data_set[end]]
        return _layout(raw, "") + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path) -> Manifest:
        """Read what to_json wrote; source names it in messages.

        Raises GoldenError if it is no manifest, is of a newer format, or lacks or adds a field."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise GoldenError(f"'{source}' is not JSON ({error})", fix=AGAIN) from error
        if not isinstance(raw, dict) or raw.get("kind") != KIND:
            raise GoldenError(f"'{source}' is not the manifest of a golden", fix="name another folder with --golden")
        if raw.get("format") != GOLDEN_FORMAT:
            raise GoldenError(
                f"'{source}' has format {raw.get('format')!r}, this nfexport reads {GOLDEN_FORMAT}",
                fix=f"update nfexport, or {AGAIN}",
            )
        try:
            raw["weights"] = {
                name: Weight(**{**weight, "shape": tuple(weight["shape"])}) for name, weight in raw["weights"].items()
            }
            raw["data_sets"] = tuple(_data_set(entry) for entry in raw["data_sets"])
            raw["interface"] = {end: tuple(raw["interface"][end]) for end in ("inputs", "outputs")}
            manifest = cls(**raw)
            _check(manifest)
            return manifest
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise GoldenError(
                f"'{source}' does not have the fields of format {GOLDEN_FORMAT} ({error})", fix=AGAIN
            ) from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a golden. Raises GoldenError as from_json does, and if there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise GoldenError(f"'{folder}' is no golden: it has no {MANIFEST}", fix=AGAIN)
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise GoldenError(f"'{path}' cannot be read ({error})", fix=AGAIN) from error


def _check(manifest: Manifest) -> None:
    """Raise ValueError where a value cannot be what its field is for."""
    for field in ("interface", "opset_imports", "operators", "weights"):
        if not isinstance(getattr(manifest, field), dict):
            raise ValueError(f"{field} is no object")
    for field in ("recipe", "subject"):
        if not isinstance(getattr(manifest, field), (dict, NoneType)):
            raise ValueError(f"{field} is no object")
    if not isinstance(manifest.file, str) or not isinstance(manifest.seed, int):
        raise ValueError("file is no name, or seed no whole number")
    for entry in (*manifest.interface["inputs"], *manifest.interface["outputs"]):
        if not isinstance(entry, dict) or not entry.keys() >= {"name", "dtype", "shape"}:
            raise ValueError("interface has an entry without name, dtype and shape")
        if not isinstance(entry["shape"], (list, NoneType)):
            raise ValueError("interface has a shape that is no list")
    if not manifest.data_sets or not all(data_set.outputs for data_set in manifest.data_sets):
        raise ValueError("there is nothing to compare in data_sets")
    for data_set in manifest.data_sets:
        if not isinstance(data_set.folder, str):
            raise ValueError("data_sets has a folder that is no name")
        for tensor in (*data_set.inputs, *data_set.outputs):
            if not isinstance(tensor.name, str) or not isinstance(tensor.file, str):
                raise ValueError("data_sets has a tensor without name and file")
        for tensor in data_set.outputs:
            _check_limits(tensor)


def _check_limits(tensor: Tensor) -> None:
    pictures = tensor.shape[0] if tensor.shape else 1
    for rule in (tensor.max_abs, tensor.rms, tensor.choices):
        if rule is not None and len(rule) != pictures:
            raise ValueError(f"'{tensor.name}' has {len(rule)} limits for {pictures} pictures")
    for limit in (*(tensor.max_abs or ()), *(tensor.rms or ())):
        if not isinstance(limit, (int, float)) or not 0 <= limit < math.inf:
            raise ValueError(f"'{tensor.name}' has {limit!r} for a limit")
    if (tensor.max_abs is None) != (tensor.rms is None):
        raise ValueError(f"'{tensor.name}' has one of two limits")
    if tensor.sha256 is None:
        raise ValueError(f"'{tensor.name}' has no sha256")


def _data_set(raw: Mapping[str, Any]) -> DataSet:
    ends = {end: tuple(_tensor(entry) for entry in raw[end]) for end in ("inputs", "outputs")}
    return DataSet(**{**raw, **ends})


def _tensor(raw: Mapping[str, Any]) -> Tensor:
    lists = {key: tuple(raw[key]) for key in ("shape", "max_abs", "rms") if key in raw}
    if "choices" in raw:
        lists["choices"] = tuple(tuple(tuple(place) for place in picture) for picture in raw["choices"])
    return Tensor(**{**raw, **lists})


def _layout(value: Any, indent: str) -> str:
    """JSON in which mappings of mappings stand on lines of their own, and short ones on one."""
    flat = json.dumps(value, sort_keys=True, ensure_ascii=True)
    if len(indent) + len(flat) <= 140 or not isinstance(value, (dict, list, tuple)):
        return flat
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_layout(value[key], deeper)}" for key in sorted(value)]
    else:
        parts = [_layout(entry, deeper) for entry in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{last}"
