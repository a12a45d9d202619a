"""The formats that an exported ONNX file is also written in, one file each.

To add one, add a file: `formats/NAME.py` with a subclass of Format, which is then known as NAME; a package adds one
by an entry point of the group `nfexport.formats` that names its subclass. Files of a format are written next to the
ONNX file and share its stem. The packages that a format needs are imported when it is used, not when it is found.
"""

from __future__ import annotations

import abc
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from nfexport import extensions
from nfexport.errors import InputError, RecipeError
from nfexport.recipe.option import Option

GROUP: extensions.Group = "nfexport.formats"

InputForms = dict[str, tuple[tuple[int | None, ...], str]]
"""The shape of each input, None where a dim is free, and NumPy's name of its element type."""


class Format(abc.ABC):
    """Base of every output format.

    name is that of the file, and what --to takes; title names the format in messages. suffixes are those of the
    files that it consists of, the one that stands for it first: it is what verify and the runtime open. options are
    what its conversion can be told. runtime is the runtime of nfexport that runs it, which an export verifies it in;
    None leaves it unverified."""

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[Option, ...]] = ()
    runtime: ClassVar[str | None] = None

    @abc.abstractmethod
    def check(self) -> None:
        """Raise MissingPackage if what the conversion needs is not installed, before any long work is done."""

    @abc.abstractmethod
    def convert(self, onnx_file: Path, folder: Path, stem: str, options: Mapping[str, Any]) -> Path:
        """Write the files of an ONNX file into a folder, and return the path of the first.

        stem is their name without suffix; options are what values returned. The same file gives the same bytes.
        Raises OnnxFileError if the ONNX file cannot be converted, MissingPackage as check does."""

    @abc.abstractmethod
    def read_metadata(self, path: Path) -> dict[str, str]:
        """Return the metadata of the ONNX file that a file was converted from, {} if it keeps none.

        Raises OnnxFileError if the file is not of this format, or incomplete."""

    @abc.abstractmethod
    def read_inputs(self, path: Path) -> InputForms:
        """Return the shape and element type of each input. Raises OnnxFileError as read_metadata does."""

    def stored_precision(self, path: Path) -> str:
        """Return 'fp32' or 'fp16': what the file stores the weights in that the ONNX file stores in float32."""
        return "fp32"

    def options_of(self, path: Path) -> dict[str, Any]:
        """Return the options with which a file was converted, as far as it tells, by keyword; see values."""
        return self.values({})

    def targets(self, onnx_file: Path) -> tuple[Path, ...]:
        """Return the paths of the files that belong next to an ONNX file, in the order of suffixes."""
        return tuple(onnx_file.with_suffix(suffix) for suffix in self.suffixes)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of each option by its keyword: what is given there, else its default.

        Raises RecipeError for a value that the option does not know."""
        values = {}
        for option in self.options:
            value = given.get(option.keyword)
            value = option.default if value is None else value
            if option.choices and value not in option.choices:
                raise RecipeError(
                    f"{option.flag} does not know '{value}'", fix=f"use one of {', '.join(option.choices)}"
                )
            values[option.keyword] = value
        return values


def names() -> tuple[str, ...]:
    """Return the names of the formats, sorted, whether what they need is installed or not."""
    return tuple(sorted({*_built_in(), *extensions.installed(GROUP)}))


def get(name: str) -> Format:
    """Return the format of that name.

    Raises InputError if there is none, or another package's cannot be imported or is not a format."""
    if name in _built_in():
        module = importlib.import_module(f"{__name__}.{name}")
        (cls,) = (
            value for value in vars(module).values() if _is_format(value) and value.__module__ == module.__name__
        )
        return _made(cls)
    if name not in extensions.installed(GROUP):
        raise InputError(f"there is no output format '{name}'", fix=f"use one of {', '.join(names())}")
    cls = extensions.load(GROUP, name)
    if not _is_format(cls):
        raise InputError(
            f"the output format '{name}' is not a subclass of nfexport.formats.Format",
            fix="update or uninstall the package that adds it",
        )
    return _made(cls)


def of_file(path: Path) -> Format | None:
    """Return the format whose files have this suffix, None for any other, ONNX among them.

    Other packages' formats are asked last. Raises InputError as get does."""
    if path.suffix == ".onnx":
        return None
    ordered = dict.fromkeys((*_built_in(), *names()))
    return next((found for found in map(get, ordered) if path.suffix == found.suffixes[0]), None)


def check_options(chosen: str | None, given: Mapping[str, Any]) -> None:
    """Raise RecipeError if an option is given that no format has, or one that was not chosen."""
    known = {option.keyword for name in names() for option in get(name).options}
    for keyword in given.keys() - known:
        raise RecipeError(f"no format has an option '{keyword[:60]}'", fix=f"use one of {', '.join(sorted(known))}")
    own = set() if chosen is None else {option.keyword for option in get(chosen).options}
    for name in names():
        for option in get(name).options:
            value = given.get(option.keyword)
            if option.keyword not in own and value not in (None, option.default):
                raise RecipeError(
                    f"{option.flag} {value} is an option of {get(name).title}, which was not asked for",
                    fix=f"add --to {name}",
                )


def _is_format(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Format) and value is not Format


def _made(cls: Any) -> Format:
    found: Format = cls()
    return found


def _built_in() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))
