"""The inputs of a model: as the Open Model Zoo's documents describe them, and as the file has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from nfexport.cards.contents import Form, InputForm, Tensor
from nfexport.inspection import TensorFacts
from nfexport.recipe.interface import network_preprocessing
from nfexport.recipe.recipe import Preprocessing, Recipe

BYTE = 255.0
IMAGE = {"nchw": ("B", "C", "H", "W"), "nhwc": ("B", "H", "W", "C")}


def input_forms(recipe: Recipe, entry: TensorFacts) -> tuple[Form, tuple[InputForm, ...]]:
    """Return which form the file has, and the forms: the original one (RGB, normalised outside), the converted
    one (BGR in 0..255, everything else inside), and the file's own if it is neither. entry is the file's input."""
    caller, network = recipe.preprocessing, network_preprocessing(recipe)
    converted = replace(
        network,
        mean=(0.0,) * recipe.in_channels,
        std=(1.0,) * recipe.in_channels,
        value_range=(0.0, BYTE),
        channel_order="bgr" if recipe.in_channels == 3 else network.channel_order,
    )
    form: Form = "original" if caller == network else "converted" if caller == converted else "own"
    shape = tuple(entry.shape or ())
    height, width = recipe.image_size
    size = ("height", "width") if recipe.dynamic_size else (height, width)
    networks_shape = (shape[0] if shape else "batch", recipe.in_channels, *size)
    theirs = Tensor(name=entry.name, dtype="float32", shape=words(networks_shape), letters=IMAGE["nchw"])
    ours = tensor(entry, IMAGE[caller.layout])
    ways = [
        ("Original model", network, ours if form == "original" else theirs, form == "original"),
        ("Converted model", converted, ours if form == "converted" else theirs, form == "converted"),
        *([("This file", caller, ours, True)] if form == "own" else []),
    ]
    return form, tuple(_form(title, pre, tensor_, here) for title, pre, tensor_, here in ways)


def _form(title: str, pre: Preprocessing, entry: Tensor, this_file: bool) -> InputForm:
    mean, scale = mean_and_scale(pre)
    if pre.channel_order == "bgr":
        mean, scale = mean[::-1], scale[::-1]
    is_plain = set(mean) == {0.0} and set(scale) == {1.0}
    return InputForm(
        title=title,
        tensor=entry,
        order={1: "grey", 3: pre.channel_order.upper()}.get(len(pre.mean)),
        mean=None if is_plain else mean,
        scale=None if is_plain else scale,
        this_file=this_file,
    )


def mean_and_scale(pre: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what is subtracted from pixels q in 0..255, and what the difference is divided by.

    (low + (high − low) · q/255 − mean) / std  =  (q − u · (mean − low)) / (u · std),  u = 255 / (high − low)"""
    low, high = pre.value_range
    unit = BYTE / (high - low)
    return tuple(unit * (mean - low) for mean in pre.mean), tuple(unit * std for std in pre.std)


def tensor(entry: TensorFacts, letters: Sequence[str] | None = None) -> Tensor:
    """Return an input or output as it stands in the file; letters that do not fit its rank are left out."""
    shape = entry.shape
    fits = letters is not None and shape is not None and len(shape) == len(letters)
    return Tensor(
        name=entry.name,
        dtype=entry.dtype,
        shape="unknown" if shape is None else words(shape),
        letters=tuple(letters) if fits and letters is not None else None,
    )


def words(shape: Sequence[int | str]) -> str:
    """Return a shape as the documents write it: '1, 3, 256, 256'."""
    return ", ".join(map(str, shape))


def scaled_size(recipe: Recipe) -> tuple[int, int]:
    """Return the (height, width) in front of the crop: ⌊size / crop_pct⌋."""
    network = network_preprocessing(recipe)
    height, width = recipe.image_size
    return math.floor(height / network.crop_pct), math.floor(width / network.crop_pct)


def preparation(recipe: Recipe) -> str:
    """Return in words how an image gets its size, and whether the file does that."""
    network = network_preprocessing(recipe)
    size, scaled = recipe.image_size, scaled_size(recipe)
    box = f"{scaled[1]}×{scaled[0]} pixels (width × height)"
    resized = {
        "center": f"so that the shorter side has {scaled[0]} pixels"
        if scaled[0] == scaled[1]
        else f"so that they just cover {box}",
        "squash": f"to {box}, whatever their aspect ratio",
        "border": f"so that they just fit into {box}",
    }.get(network.crop_mode)
    if resized is None:
        return "Images are used at their own size."
    text = f"Images are resized {resized} ({network.interpolation}, as Pillow does it)"
    if network.crop_mode == "border":
        text += f", and padded with the mean colour to {size[1]}×{size[0]}"
    elif (network.crop_mode, scaled) != ("squash", size):
        text += f", and the central {size[1]}×{size[0]} is cropped"
    inside = recipe.preprocessing.crop_mode == "none" and network.crop_mode != "none"
    return f"{text}: this file does that itself." if inside else f"{text}, before they enter the model."
