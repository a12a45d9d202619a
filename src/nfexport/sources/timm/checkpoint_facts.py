"""What a checkpoint says of itself, next to its weights.

    args                  the arguments of timm's training script (train.py), and `arch` beside them
    hyper_parameters      those of a Lightning module
    the header            of a .safetensors file: strings, such as architecture=nf_regnet_b0, mean=0.5,0.5,0.5

All of it is data from a file: each value is checked before it is used, and what is not understood is left out.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from nfexport.errors import CheckpointError, RecipeError
from nfexport.recipe.recipe import CropMode, Interpolation
from nfexport.recipe.validation import check_strings, printable
from nfexport.sources.timm.checkpoint_reader import Checkpoint
from nfexport.sources.timm.plain_values import is_plain

_ARCHITECTURE = ("arch", "architecture", "model_name", "model", "backbone", "encoder_name")
_CLASSES = ("num_classes", "n_classes", "nb_classes")
_CHANNELS = ("in_chans", "chans", "in_channels")
_LABELS = ("label_names", "class_names", "classes", "labels", "class_map", "class_to_idx")
_KEYWORDS = {"gp": "global_pool", "global_pool": "global_pool", "bn_eps": "bn_eps"}
"""Arguments of timm's training script that change what the network computes, and their names in create_model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is said of a network; None, or nothing, where it is not said. Sizes in pixels, statistics in 0..1."""

    architecture: str | None = None
    num_classes: int | None = None
    in_chans: int | None = None
    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None
    interpolation: str | None = None
    model_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] | None = None

    def describe(self) -> str:
        """Return what is known, in words for a report."""
        size = self.image_size
        parts = [
            f"architecture {self.architecture}" if self.architecture else "",
            counted(self.num_classes, "class", "classes"),
            counted(self.in_chans, "channel", "channels"),
            f"{size[0]} × {size[1]} px" if size is not None else "",
            f"mean {_joined(self.mean)}" if self.mean is not None else "",
            f"std {_joined(self.std)}" if self.std is not None else "",
            f"crop {self.crop_pct:g}" if self.crop_pct is not None else "",
            f"crop mode {self.crop_mode}" if self.crop_mode is not None else "",
            self.interpolation or "",
            *(f"{key}={value}" for key, value in self.model_kwargs.items()),
            f"{len(self.labels)} labels" if self.labels is not None else "",
        ]
        return ", ".join(part for part in parts if part)


def facts_of(checkpoint: Checkpoint) -> Facts:
    """Return what a checkpoint says of its network.

    Raises CheckpointError, naming the value, for one that cannot be meant."""
    said = _said(checkpoint.rest)
    reader = _Reader(said, checkpoint.path)
    size = reader.input_size()
    facts = Facts(
        architecture=reader.text(*_ARCHITECTURE),
        num_classes=reader.whole(_CLASSES, least=0),
        in_chans=size[0] if size is not None else reader.whole(_CHANNELS, least=1),
        image_size=size[1:] if size is not None else reader.image_size(),
        mean=reader.numbers("mean"),
        std=reader.numbers("std"),
        crop_pct=reader.fraction("crop_pct"),
        crop_mode=reader.word("crop_mode", get_args(CropMode)),
        interpolation=reader.word("interpolation", get_args(Interpolation)),
        model_kwargs=reader.keywords(),
        labels=reader.labels(),
    )
    if facts.std is not None and min(facts.std) <= 0:
        raise reader.wrong("std", facts.std, "but a standard deviation must be above 0")
    try:
        check_strings([facts.architecture, facts.model_kwargs, facts.labels], f"'{checkpoint.path}'")
    except RecipeError as error:
        raise CheckpointError(error.problem, fix="save the state dict alone, and pass the rest as options") from error
    return facts


def _said(rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is said, by name; arguments win over what lies beside them."""
    found: dict[str, Any] = {}
    for source in (rest, rest.get("hyper_parameters"), rest.get("args")):
        if isinstance(source, argparse.Namespace):
            source = vars(source)
        if isinstance(source, Mapping):
            found |= {str(key): value for key, value in source.items() if value is not None}
    return found


class _Reader:
    """Reads typed values out of what a checkpoint says."""

    def __init__(self, said: Mapping[str, Any], path: Path) -> None:
        self.said, self.path = said, path

    def wrong(self, name: str, value: Any, why: str) -> CheckpointError:
        return CheckpointError(
            f"'{self.path}' says that {name} is {printable(str(value))}, {why}",
            fix="save the state dict alone, and pass the rest as options",
        )

    def text(self, *names: str) -> str | None:
        found = (self.said.get(name) for name in names)
        return next((value for value in found if isinstance(value, str) and value), None)

    def value(self, name: str) -> Any:
        """Return a value as Python has it: a literal for text from a header, a number for one of numpy's."""
        value = self.said.get(name)
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()  # type: ignore[union-attr]
        if isinstance(value, str) and value[:1] in "[({-.0123456789" and value:
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return value
        return value

    def whole(self, names: Sequence[str], *, least: int) -> int | None:
        for name in names:
            value = self.value(name)
            if value is None or value == "":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
                raise self.wrong(name, value, f"which is no whole number from {least} up")
            return value
        return None

    def numbers(self, name: str) -> tuple[float, ...] | None:
        value = self.value(name)
        if value is None or value == "":
            return None
        values = value if isinstance(value, list | tuple) else [value]
        if not values or not all(_is_number(part) and abs(part) <= 255 for part in values):
            raise self.wrong(name, value, "which is no list of numbers, one a channel")
        return tuple(float(part) for part in values)

    def fraction(self, name: str) -> float | None:
        value = self.value(name)
        if not value:  # timm's scripts take 0 for nothing, too
            return None
        if not _is_number(value) or not 0 < value <= 1:
            raise self.wrong(name, value, "which is not above 0 and up to 1")
        return float(value)

    def word(self, name: str, words: Sequence[str]) -> str | None:
        value = self.text(name)
        return value if value in words else None  # 'random' and the like are of training alone

    def input_size(self) -> tuple[int, int, int] | None:
        value = self.value("input_size")
        if isinstance(value, list | tuple) and len(value) == 3:
            if not all(isinstance(part, int) and 1 <= part <= 65_536 for part in value):
                raise self.wrong("input_size", value, "which are not channels, height and width")
            return value[0], value[1], value[2]
        return None

    def image_size(self) -> tuple[int, int] | None:
        for name in ("img_size", "image_size"):
            value = self.value(name)
            sizes = [value, value] if isinstance(value, int) else value
            if not sizes:
                continue
            if not isinstance(sizes, list | tuple) or len(sizes) != 2:
                raise self.wrong(name, value, "which is no image size")
            if not all(isinstance(part, int) and 1 <= part <= 65_536 for part in sizes):
                raise self.wrong(name, value, "which is no image size in pixels")
            return sizes[0], sizes[1]
        return None

    def keywords(self) -> dict[str, Any]:
        given = self.value("model_kwargs")
        found = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
        for name, keyword in _KEYWORDS.items():
            if (value := self.value(name)) not in (None, ""):
                found.setdefault(keyword, value)
        found = {key: value for key, value in found.items() if value is not None}
        for key, value in found.items():
            if not is_plain(value):
                raise self.wrong(f"model_kwargs {key}", value, "which is no text, number or list")
        return found

    def labels(self) -> tuple[str, ...] | None:
        for name in _LABELS:
            value = self.value(name)
            if isinstance(value, Mapping) and value:
                value = _numbered(value)
            if isinstance(value, list | tuple) and value and all(isinstance(part, str) for part in value):
                return tuple(value)
        return None


def _numbered(names: Mapping[Any, Any]) -> list[Any] | None:
    """Return names in the order of their numbers, from a map in either direction; None if it is no such map."""
    pairs = names.items() if all(isinstance(key, int) for key in names) else ((v, k) for k, v in names.items())
    by_number = dict(pairs)
    if not all(isinstance(number, int) for number in by_number) or sorted(by_number) != list(range(len(names))):
        return None
    return [by_number[number] for number in range(len(by_number))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def counted(number: int | None, one: str, several: str) -> str:
    """Return '7 classes'; nothing for a number that is not known."""
    return "" if number is None else f"{number} {one if number == 1 else several}"


def _joined(numbers: Sequence[float]) -> str:
    return "/".join(f"{number:.4g}" for number in numbers)
