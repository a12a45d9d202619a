"""The contents of a card, as values: computed once, printed by any style."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import msgspec

from nfexport.recipe.about import Accuracy

Form = Literal["original", "converted", "own"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specification:
    """What a file is. flops and parameters are counted by the rule of the Open Model Zoo, timm_parameters, timm_macs
    and timm_activations by timm's: for one image, without a recipe for one inference with a batch of 1. None
    where they cannot be counted. file_size is in bytes, external data included."""

    type: str | None
    framework: str | None
    producer: str
    opset: str
    file_size: int
    image_size: tuple[int, int] | None
    flops: int | None
    parameters: int | None
    timm_parameters: int | None
    timm_macs: int | None
    timm_activations: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output as it stands in the file; letters name the axes of a known layout ('B, C, H, W')."""

    name: str
    dtype: str
    shape: str
    letters: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputForm:
    """The input of one form of the model: y = (q − mean) / scale, for pixels q in 0..255.

    order is 'RGB', 'BGR' or, for one channel, 'grey'; mean and scale are per channel in that order, None where
    pixels are used as they are. this_file marks the form that the described file has."""

    title: str
    tensor: Tensor
    order: str | None
    mean: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    this_file: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputEntry:
    """An output: what it is, and what each letter of its shape stands for."""

    tensor: Tensor
    what: str
    legend: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A program that runs the file on an image; title says what for."""

    title: str
    code: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Making:
    """How the file was made: commands, what they ran with, and the digests that tell it apart."""

    commands: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    weights: str
    weights_digest: str
    recipe_digest: str
    preset: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that a card can say about a file.

    model is timm's name; trained is None where that is unknown. form is that of the file, None without a recipe;
    forms are the inputs, the documents' two first. preparation says in words how an image gets its size.
    unknown lists what the file does not say."""

    title: str
    summary: str
    model: str | None
    file_name: str
    trained: bool | None
    specification: Specification
    claimed: Accuracy | None
    evaluated: Accuracy | None
    form: Form | None
    forms: tuple[InputForm, ...]
    preparation: str
    outputs: tuple[OutputEntry, ...]
    kinds: tuple[str, ...]
    classes: str | None
    runs: tuple[Run, ...]
    no_run: str | None
    making: Making | None
    no_recipe: str | None
    verify_command: str
    licence: str | None
    dataset: str | None
    origin: str | None
    citations: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def bibtex(self) -> tuple[str, ...]:
        """The citations that are BibTeX entries."""
        return tuple(entry.strip() for entry in self.citations if entry.lstrip().startswith("@"))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The citations that are addresses, or names such as 'arXiv:2102.06171'."""
        return tuple(entry.strip() for entry in self.citations if not entry.lstrip().startswith("@"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self, enc_hook=_plain)
        return plain


def _plain(value: Any) -> str:
    if isinstance(value, str):  # Markdown, a subclass that msgspec does not know
        return str(value)
    raise TypeError(f"a card holds no {type(value).__name__}")
