"""From a recipe back to the commands that write its file: its options, as they were declared.

Not in a recipe, and so not here: the path of a checkpoint, of label files or of images to calibrate with, and options
that change no byte (--no-verify).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nfexport import formats
from nfexport.passes import keywords
from nfexport.recipe.export_options import ExportOptions, Source, declared
from nfexport.recipe.option import Command, Option
from nfexport.recipe.recipe import Operation, Recipe

WIDTH = 100

QUANTIZE = {
    "calibrate": "--calibrate",
    "seed": "--seed",
    "method": "--calibration-method",
    "keep_float": "--keep-float",
    "keep_worst": "--worst",
}
"""The options of `nfexport quantize`, by their names in a recipe."""


def commands(recipe: Recipe, file_name: str) -> tuple[str, ...]:
    """Return the commands in order: the export, and one for each operation. The last one writes file_name."""
    names = [f"step{number}.onnx" for number in range(len(recipe.operations))] + [file_name]
    lines = [["nfexport", recipe.source.model, *_export_words(recipe), "-o", names[0]]]
    for number, operation in enumerate(recipe.operations):
        words = _quantize_words(operation) if operation.command == "quantize" else _surgery_words(operation)
        lines.append(["nfexport", operation.command, names[number], *words, "-o", names[number + 1]])
    return tuple(_wrapped(line) for line in lines)


def _export_words(recipe: Recipe) -> list[str]:
    words: list[str] = []
    source = msgspec.structs.asdict(recipe.source) | {"checkpoint": None}
    if recipe.weights.kind == "checkpoint":
        source |= {"checkpoint": "CHECKPOINT", "pretrained": False}
    for kind, values in ((Source, source), (ExportOptions, msgspec.structs.asdict(recipe.options))):
        defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
        for name, item in declared(kind).items():
            if name not in ("outputs", "extra_passes") and values[name] != defaults[name]:
                words += option_words(item, values[name])
    if recipe.options.to in formats.names():
        for item in formats.get(recipe.options.to).options:
            if item.keyword in recipe.options.to_options:
                words += option_words(item, recipe.options.to_options[item.keyword])
    words += _output_words(recipe.options)
    words += _pass_words("export", recipe.options.passes, recipe.options.extra_passes)
    return words


def _output_words(options: ExportOptions) -> list[str]:
    direct = ("logits", "probs", "sigmoid", "topk")
    words = [word for kind in options.outputs if kind in direct for word in ("--output", kind)]
    if "features" in options.outputs:
        words += ["--features", ",".join(map(str, options.feature_levels)) or "all"]
    for kind, form in (("embedding", "pooled"), ("embedding-unpooled", "unpooled")):
        if kind in options.outputs:
            words += ["--embedding", form]
    return words + (["--labels", "LABELS"] if options.labels is not None else [])


def _surgery_words(operation: Operation) -> list[str]:
    values = dict(operation.options)
    own = {name: item for name, item in declared(ExportOptions).items() if "surgery" in item.commands}
    extra = values.pop("extra_passes", {})
    words: list[str] = []
    for name, item in own.items():
        if name in values:
            words += option_words(item, values.pop(name))
    return words + _pass_words("surgery", values, extra)


def _pass_words(command: Command, values: Mapping[str, Any], extra: Mapping[str, Mapping[str, Any]]) -> list[str]:
    offered = keywords.options(command)
    words = [word for name, value in values.items() if name in offered for word in option_words(offered[name], value)]
    for name, params in extra.items():
        shown = ",".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in params.items())
        words += ["--pass", f"{name}:{shown}" if shown else name]
    return words


def _quantize_words(operation: Operation) -> list[str]:
    given = {"calibrate": "IMAGES", **operation.options}
    words: list[str] = []
    for name, flag in QUANTIZE.items():
        value = given.get(name)
        if value in (None, (), []) or (name, value) in (("seed", 0), ("method", "minmax")):
            continue
        for part in value if isinstance(value, list | tuple) else (value,):
            words += [flag, str(part)]
    return words


def option_words(item: Option, value: Any) -> list[str]:
    """Return an option with its value as words of a command line, unquoted."""
    if item.kind == "flag":
        return [item.flag] if value else []
    if item.kind == "switch":
        return [item.flag if value else f"--no-{item.flag.removeprefix('--')}"]
    if item.kind in ("pairs", "values"):
        return [word for old, new in value.items() for word in (item.flag, f"{old}={new}")]
    if item.multiple:
        return [word for part in value for word in (item.flag, str(part))]
    if item.kind == "size":
        return [item.flag, "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
    if isinstance(value, list | tuple):
        return [item.flag, ",".join(_number(part) for part in value)]
    return [item.flag, _number(value)]


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _wrapped(words: Iterable[str]) -> str:
    lines = [""]
    for word in map(shlex.quote, words):
        if word.startswith("-") and len(lines[-1]) + len(word) > WIDTH - 20:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
