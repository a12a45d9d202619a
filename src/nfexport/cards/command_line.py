"""From a recipe back to the commands that write its file.

Exact for what the command line can ask for: the commands of tests/cards give the same recipe. Not in a recipe,
and so not here: the path of a checkpoint, or of pictures to calibrate with, and options that change no byte
(--no-verify).
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nfexport.recipe.interface import networks_part, steps_in_front
from nfexport.recipe.recipe import Output, PassStep, Preprocessing, Recipe
from nfexport.recipe.speed import REWRITES

Steps = Mapping[str, Mapping[str, Any]]

FLAGS = ("fold-ws", "fold-bn", "fold-scales", *REWRITES, "simplify", "strip")
DYNAMO_FROM = 18
"""The opset from which an export takes the dynamo exporter unless told otherwise."""
BYTE = 255.0
WIDTH = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Interface:
    """What a file takes and gives, before or after some steps."""

    input_name: str
    outputs: tuple[Output, ...]
    preprocessing: Preprocessing


def commands(recipe: Recipe, file_name: str) -> tuple[str, ...]:
    """Return the commands in order: the export, and one for each surgery. The last one writes file_name."""
    surgeries = _groups(recipe.surgery)
    interface = _Interface(input_name=recipe.input_name, outputs=recipe.outputs, preprocessing=recipe.preprocessing)
    for steps in reversed(surgeries):
        interface = _before(interface, steps)
    names = [f"step{number}.onnx" for number in range(len(surgeries))] + [file_name]
    lines = [["nfexport", recipe.model_name, *_export_options(recipe, interface), "-o", names[0]]]
    for number, steps in enumerate(surgeries):
        if steps[0].name == "quantize":
            words = ["quantize", names[number], *_quantize_options(steps[0])]
        else:
            words = ["surgery", names[number], *_surgery_options(steps)]
        lines.append(["nfexport", *words, "-o", names[number + 1]])
    return tuple(_wrapped(line) for line in lines)


def _wrapped(words: Sequence[str]) -> str:
    lines = [""]
    for word in map(shlex.quote, words):
        if word.startswith("-") and len(lines[-1]) + len(word) > WIDTH - 20:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _groups(steps: Sequence[PassStep]) -> list[tuple[PassStep, ...]]:
    """Return the steps of each surgery: every one starts with 'tidy', or is a quantisation."""
    groups: list[tuple[PassStep, ...]] = []
    for step in steps:
        if step.name in ("tidy", "quantize") or not groups:
            groups.append(())
        groups[-1] += (step,)
    return groups


def _before(after: _Interface, steps: Sequence[PassStep]) -> _Interface:
    """Return the interface that a file had before this surgery."""
    params = {step.name: step.params for step in steps}
    before = _unrenamed(after, params)
    outputs = before.outputs
    if head := params.get("head"):
        topk = head["topk"] or {}
        added = {head["probs"], topk.get("values"), topk.get("indices")}
        kept = tuple(output for output in outputs if output.name not in added)
        # without a name there was one output alone
        lone = () if head["keep_logits"] else (Output(kind="logits", name=head["logits"] or "output"),)
        outputs = (*lone, *kept)
    preprocessing = networks_part(before.preprocessing, steps_in_front(steps))
    return _Interface(input_name=before.input_name, outputs=outputs, preprocessing=preprocessing)


def _unrenamed(after: _Interface, params: Steps) -> _Interface:
    old = {new: old for old, new in params.get("rename", {}).get("names", {}).items()}
    return dataclasses.replace(
        after,
        input_name=old.get(after.input_name, after.input_name),
        outputs=tuple(dataclasses.replace(o, name=old.get(o.name, o.name)) for o in after.outputs),
    )


def _export_options(recipe: Recipe, interface: _Interface) -> list[str]:
    params = {step.name: step.params for step in recipe.passes}
    before = _unrenamed(interface, params)
    opset = int(params.get("convert-opset", {}).get("opset", recipe.opset))
    height, width = recipe.image_size
    words = ["--opset", str(opset)]
    if recipe.exporter != ("dynamo" if opset >= DYNAMO_FROM else "torchscript"):
        words += ["--exporter", recipe.exporter]
    words += ["--image-size", str(height) if height == width else f"{height}x{width}"]
    if recipe.dynamic_size:
        words.append("--dynamic-size")
    if recipe.labels is None:
        words += ["--num-classes", str(recipe.num_classes)]
    if recipe.weights.kind == "checkpoint":
        words += ["--checkpoint", "CHECKPOINT"]
    elif recipe.weights.seed:
        words += ["--seed", str(recipe.weights.seed)]
    if recipe.batch != "dynamic" and not any(step.name == "batch" for step in recipe.surgery):
        words += ["--batch", str(recipe.batch)]
    if before.input_name != "input":
        words += ["--input-name", before.input_name]
    own = set(interface.preprocessing.mean) == {0.0} and set(interface.preprocessing.std) == {1.0}
    words += _front_options(params, own=own)
    words += _output_options(before.outputs)
    # every export folds BatchNormalization
    return words + _back_options({name: value for name, value in params.items() if name != "fold-bn"})


def _surgery_options(steps: Sequence[PassStep]) -> list[str]:
    params = {step.name: step.params for step in steps}
    words = _front_options(params, own=False)
    if head := params.get("head"):
        kinds = {"logits": head["keep_logits"], "probs": head["probs"], "topk": head["topk"]}
        for kind in (kind for kind, asked in kinds.items() if asked):
            words += ["--output", kind]
        if head["topk"]:
            words += ["--top-k", str(head["topk"]["k"])]
        if head["logits"] is not None:
            words += ["--logits", str(head["logits"])]
    if "batch" in params:
        words += ["--batch", str(params["batch"]["size"])]
    if "convert-opset" in params:
        words += ["--opset", str(params["convert-opset"]["opset"])]
    return words + _back_options(params)


def _quantize_options(step: PassStep) -> list[str]:
    given = step.params["calibration"]
    seeded = given["source"] == "seeded"
    words = ["--calibrate", str(given["pictures"]) if seeded else "PICTURES"]
    if seeded and given["seed"]:
        words += ["--seed", str(given["seed"])]
    if step.params["method"] != "minmax":
        words += ["--calibration-method", str(step.params["method"])]
    for name in step.params["keep_float"]:
        words += ["--keep-float", str(name)]
    if step.params["keep_worst"] is not None:
        words += ["--worst", str(step.params["keep_worst"])]
    return words


def _front_options(params: Steps, *, own: bool) -> list[str]:
    """own says that the file normalises by the network's own mean and deviation."""
    words: list[str] = []
    dtype, layout = ("uint8", "nhwc") if "resize" in params else ("float32", "nchw")
    form = params.get("input-form", {"dtype": "float32", "layout": "nchw"})
    if normalize := params.get("normalize"):
        numbers = {name: [float(number) for number in normalize[name]] for name in ("mean", "std")}
        pixels = float(normalize["value_range"])
        unchanged = (set(numbers["mean"]), set(numbers["std"]), pixels) == ({0.0}, {1.0}, BYTE)
        if not unchanged or normalize["fold"]:
            words += ["--normalize", "fold" if normalize["fold"] else "nodes"]
            if not own:
                # numbers above 1 would be read as those of 0..255
                unit = BYTE if max(*numbers["mean"], *numbers["std"]) > 1 else 1.0
                for name, values in numbers.items():
                    words += [f"--{name}", ",".join(repr(unit * value) for value in values)]
        if unchanged or pixels != (BYTE if form["dtype"] == "uint8" else 1.0):
            words += ["--input-range", f"{pixels:g}"]
    if "channels" in params:
        words += ["--channels", str(params["channels"]["order"])]
    if resize := params.get("resize"):
        size = resize["from_size"]
        words += ["--resize", "any" if size is None else f"{size[0]}x{size[1]}"]
    if form["dtype"] != dtype:
        words += ["--input-dtype", str(form["dtype"])]
    if form["layout"] != layout:
        words += ["--input-layout", str(form["layout"])]
    return words


def _output_options(outputs: Sequence[Output]) -> list[str]:
    kinds = tuple(dict.fromkeys(output.kind for output in outputs))
    words: list[str] = []
    scores = {"logits": "logits", "probs": "probs", "topk-values": "topk"}
    if kinds != ("logits",):
        for kind in (kind for kind in kinds if kind in scores):
            words += ["--output", scores[kind]]
    if k := next((output.k for output in outputs if output.kind == "topk-values"), None):
        words += ["--top-k", str(k)]
    if levels := [str(output.level) for output in outputs if output.kind == "features"]:
        words += ["--features", ",".join(levels)]
    for kind, form in (("embedding", "pooled"), ("embedding-unpooled", "unpooled")):
        if kind in kinds:
            words += ["--embedding", form]
    if len(outputs) == 1:
        (lone,) = outputs
        default = {"logits": "output", "features": f"features_{lone.level}"}.get(lone.kind)
        if lone.name != (default or lone.kind.replace("-", "_")):
            words += ["--output-name", lone.name]
    return words


def _back_options(params: Steps) -> list[str]:
    words = [f"--{name}" for name in FLAGS if name in params]
    for old, new in params.get("rename", {}).get("names", {}).items():
        words += ["--rename", f"{old}={new}"]
    if "precision" in params:
        words += ["--precision", str(params["precision"]["form"])]
    return words
