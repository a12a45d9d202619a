"""The inputs of a torch module as a user writes them, and as a recipe keeps them.

    NAME=DTYPE[DIM, ...]            image=float32[batch,3,224,224]
    DIM     224                     a fixed size
            height                  a symbolic size: the file takes any, and it is traced at 224 (batch: at 2)
            height:192              the same, traced at 192
    DTYPE[…]:LOW..HIGH              token_ids=int64[batch,16]:0..30521   the range of whole numbers to verify with

One name stands for one size, wherever it appears. Parentheses serve as well as brackets, which recipes do not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from nfexport.errors import RecipeError
from nfexport.recipe.validation import Pixels

TensorType = Literal["float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool"]

BATCH = "batch"
"""The name of the axis whose entries do not influence one another."""

_DEFAULT_SIZES: Mapping[int, int] = {4: 224}
"""Sizes to trace a symbolic dim at, by the number of dims of its input; others are traced at _SIZE."""

_SIZE = 16
_SPEC = re.compile(
    r"(?P<name>[^=()\[\]]+)=(?P<dtype>\w+)[\[(](?P<dims>[^()\[\]]*)[\])]"
    r"(?::(?P<low>-?\d+)\.\.(?P<high>-?\d+))?"
)
_DIM = re.compile(r"(?P<name>[A-Za-z_]\w*)(?::(?P<size>\d+))?")
_EXAMPLE = "write it as NAME=DTYPE[DIM,...], such as image=float32[batch,3,224,224]"


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input tensor.

    shape holds a fixed size or the name of a symbolic one for each axis, sizes the size that each symbolic axis is
    traced at. low and high bound the whole numbers that a file is verified with, both included."""

    name: str
    dtype: TensorType
    shape: tuple[Pixels | str, ...] = ()
    sizes: Mapping[str, Pixels] = {}
    low: int | None = None
    high: int | None = None

    @property
    def symbols(self) -> dict[int, str]:
        """The names of the symbolic axes, by axis."""
        return {axis: dim for axis, dim in enumerate(self.shape) if isinstance(dim, str)}

    def at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape where the symbolic sizes have these values."""
        return tuple(
            dim if isinstance(dim, int) else sizes.get(dim, self.sizes.get(dim, _SIZE)) for dim in self.shape
        )

    def written(self) -> str:
        """Return it as --input takes it; see this module."""
        dims = [str(dim) if isinstance(dim, int) else f"{dim}:{self.sizes[dim]}" for dim in self.shape]
        bounds = "" if self.low is None or self.high is None else f":{self.low}..{self.high}"
        return f"{self.name}={self.dtype}({','.join(dims)}){bounds}"

    def describe(self) -> str:
        """Return it as text: 'image float32 [batch, 3, 224, 224]'."""
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"


def parse_inputs(texts: Iterable[str]) -> tuple[TensorSpec, ...]:
    """Return the inputs that are written like this. Raises RecipeError, naming the text, if one is not."""
    found = tuple(map(parse_input, texts))
    names = [spec.name for spec in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(f"the input '{twice[0]}' is described twice", fix="pass one --input for each input")
    sizes: dict[str, int] = {}
    for spec in found:
        for name, size in spec.sizes.items():
            if sizes.setdefault(name, size) != size:
                raise RecipeError(
                    f"the size '{name}' is {sizes[name]} in one input and {size} in '{spec.name}'",
                    fix="give it one size",
                )
    return found


def parse_input(text: str) -> TensorSpec:
    """Return the input of one description; see this module. Raises RecipeError."""
    parts = _SPEC.fullmatch(text.strip())
    if parts is None:
        raise RecipeError(f"'{text}' does not describe an input", fix=_EXAMPLE)
    dtype = parts["dtype"]
    if dtype not in TensorType.__args__:  # type: ignore[attr-defined]
        raise RecipeError(
            f"'{dtype}' in '{text}' is not an element type",
            fix=f"use one of {', '.join(TensorType.__args__)}",  # type: ignore[attr-defined]
        )
    written = [dim.strip() for dim in parts["dims"].split(",")] if parts["dims"].strip() else []
    shape: list[int | str] = []
    sizes: dict[str, int] = {}
    for dim in written:
        if dim.isdecimal() and int(dim) > 0:
            shape.append(int(dim))
            continue
        named = _DIM.fullmatch(dim)
        if named is None or named["size"] == "0":
            raise RecipeError(f"'{dim}' in '{text}' is not a size", fix=_EXAMPLE)
        default = 2 if named["name"] == BATCH else _DEFAULT_SIZES.get(len(written), _SIZE)
        shape.append(named["name"])
        sizes[named["name"]] = int(named["size"] or default)
    low, high = (None if parts[name] is None else int(parts[name]) for name in ("low", "high"))
    if low is not None and high is not None and (low > high or dtype.startswith(("float", "bool"))):
        raise RecipeError(
            f"the range {low}..{high} in '{text}' is not one of whole numbers", fix="write LOW..HIGH for integers"
        )
    spec = {"name": parts["name"].strip(), "dtype": dtype, "shape": shape, "sizes": sizes, "low": low, "high": high}
    return msgspec.convert(spec, TensorSpec)
