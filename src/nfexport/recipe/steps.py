"""From what a user asks for to the steps that do it: the same for an export and for surgery.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from nfexport.errors import RecipeError
from nfexport.recipe.recipe import SCORES, Output, PassStep, Preprocessing

BYTE = 255.0
ANTIALIAS_FROM = 18
"""The opset at which Resize learned to resize as Pillow does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Front:
    """What shall stand between a file's input and its network; None where nobody asks for anything.

    mean and std are per channel, in the model's channel order, in 0..1 or, if one of the numbers is above 1,
    in 0..255. input_range is the largest value of a pixel, 255 or 1. resize 'any' takes pictures of any
    size, (height, width) of that size alone."""

    normalize: Literal["nodes", "fold"] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    input_range: float | None = None
    channels: Literal["rgb", "bgr"] | None = None
    input_dtype: Literal["uint8", "float32", "float16"] | None = None
    input_layout: Literal["nchw", "nhwc"] | None = None
    resize: Literal["any"] | tuple[int, int] | None = None

    def steps(self, *, network: Preprocessing | None, channels: int | None, opset: int | None) -> list[PassStep]:
        """Return the passes that do it, for a network of so many channels.

        network is its own preprocessing, None if nobody knows it; opset is that of the finished file, None
        for the one it has. Raises RecipeError for what contradicts itself, or is missing."""
        dtype = self.input_dtype or ("uint8" if self.resize else "float32")
        layout = self.input_layout or ("nhwc" if self.resize else "nchw")
        pixels = self._range(dtype)
        steps = self._normalize(network, channels, pixels)
        if self.channels == "bgr":
            steps.append(PassStep(name="channels", params={"order": "bgr", "fold": self._fold_channels(steps)}))
        if self.resize is not None:
            steps.append(self._resize(network, pixels, opset))
        if (dtype, layout) != ("float32", "nchw"):
            steps.append(PassStep(name="input-form", params={"dtype": dtype, "layout": layout}))
        return steps

    def _range(self, dtype: str) -> float:
        if self.input_range not in (None, 1, BYTE):
            raise RecipeError(
                f"pixels cannot range from 0 to {self.input_range:g}", fix="pass --input-range 255 or 1"
            )
        if dtype == "uint8" and self.input_range == 1:
            raise RecipeError(
                "bytes between 0 and 1 are no picture", fix="pass --input-range 255, or another --input-dtype"
            )
        return float(self.input_range or (BYTE if dtype == "uint8" else 1))

    def _normalize(self, network: Preprocessing | None, channels: int | None, pixels: float) -> list[PassStep]:
        if self.normalize is None:
            for option, numbers in (("--mean", self.mean), ("--std", self.std)):
                if numbers is not None:
                    raise RecipeError(f"{option} is for normalising, which nobody asked for", fix="add --normalize")
            if self.input_range != BYTE:
                return []
            count = channels or (len(network.mean) if network is not None else 3)
            params = {"mean": [0.0] * count, "std": [1.0] * count, "value_range": BYTE, "fold": False}
            return [PassStep(name="normalize", params=params)]
        mean, std = self.mean, self.std
        if mean is None or std is None:
            if network is None:
                missing = "mean" if mean is None else "std"
                raise RecipeError(
                    f"nobody knows what to normalise with: there is no recipe, and no --{missing}",
                    fix="pass --mean and --std, such as --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
                )
            mean, std = mean or network.mean, std or network.std
            if (self.mean is None) != (self.std is None):
                raise RecipeError("--mean and --std belong together", fix="pass both, or none for the model's own")
        # ImageNet's statistics are quoted in either unit, and no picture has a mean above its own range
        unit = BYTE if max(*mean, *std) > 1 else 1.0
        params = {
            "mean": [number / unit for number in mean],
            "std": [number / unit for number in std],
            "value_range": pixels,
            "fold": self.normalize == "fold",
        }
        return [PassStep(name="normalize", params=params)]

    def _fold_channels(self, steps: Sequence[PassStep]) -> str | bool:
        # behind nodes that normalise, swapping by a node too keeps the order of the pixels readable
        return False if steps and not steps[0].params["fold"] else "auto"

    def _resize(self, network: Preprocessing | None, pixels: float, opset: int | None) -> PassStep:
        if network is None:
            raise RecipeError(
                "nobody knows how the model's pictures are resized: there is no recipe",
                fix="use --resize on a file that nfexport exported, or at export",
            )
        if self.resize == "any" and opset is not None and opset < ANTIALIAS_FROM:
            raise RecipeError(
                f"pictures of any size cannot be resized at opset {opset}: Resize learned it at {ANTIALIAS_FROM}",
                fix=f"pass --opset {ANTIALIAS_FROM}, or a fixed size: --resize HxW",
            )
        return PassStep(
            name="resize",
            params={
                "crop_pct": network.crop_pct,
                "crop_mode": network.crop_mode,
                "interpolation": network.interpolation,
                "value_range": pixels,
                "from_size": None if self.resize == "any" else list(self.resize or ()),
                "opset": opset,
            },
        )


def traced_outputs(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return what the network itself has to give for these outputs."""
    direct = tuple(output for output in outputs if output.kind not in SCORES)
    if len(direct) == len(outputs) or any(output.kind == "logits" for output in direct):
        return direct
    return (*direct, Output(kind="logits", name="logits"))


def head_step(outputs: Sequence[Output]) -> list[PassStep]:
    """Return the step that adds what follows from the logits, if anything does."""
    by_kind = {output.kind: output for output in outputs}
    if not by_kind.keys() & set(SCORES):
        return []
    topk = None
    if "topk-values" in by_kind:
        values, indices = by_kind["topk-values"], by_kind["topk-indices"]
        topk = {"k": values.k, "values": values.name, "indices": indices.name}
    params = {
        "logits": by_kind["logits"].name if "logits" in by_kind else "logits",
        "probs": by_kind["probs"].name if "probs" in by_kind else None,
        "topk": topk,
        "keep_logits": "logits" in by_kind,
        "order": [output.name for output in outputs],
    }
    return [PassStep(name="head", params=params)]
