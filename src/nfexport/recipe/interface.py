"""How graph passes change a file's interface: the preprocessing left to its caller, and the precision.

The passes in front of a network run in a fixed order (see nfexport.passes), from the
network outwards: normalize, channels, resize, input-form. Surgery adds its steps in front of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from nfexport.recipe.recipe import PassStep, Preprocessing, Recipe

IN_FRONT = ("normalize", "channels", "resize", "input-form")
"""The passes that stand between a file's input and its network, from the network outwards."""


def front_steps(recipe: Recipe) -> tuple[PassStep, ...]:
    """Return the steps that an image goes through inside the file before the network, the last one first."""
    return steps_in_front(recipe.steps)


def steps_in_front(steps: Iterable[PassStep]) -> tuple[PassStep, ...]:
    """Return those of the steps that stand in front of the network, from the network outwards."""
    return tuple(
        sorted((step for step in steps if step.name in IN_FRONT), key=lambda step: IN_FRONT.index(step.name))
    )


def precision(recipe: Recipe) -> str:
    """Return the precision of the file: 'float32', 'fp16', 'fp16-weights' or 'int8'."""
    steps = recipe.steps
    forms = [step.params["form"] for step in steps if step.name in ("precision", "quantize")]
    return str(forms[-1]) if forms else "float32"


def int8_bound(recipe: Recipe) -> float | None:
    """Return the rms error, relative to the output's range, that an int8 file may have; None for others."""
    bounds = [step.params["bound"] for step in recipe.surgery if step.name == "quantize"]
    return float(bounds[-1]) if bounds else None


def callers_part(network: Preprocessing, steps: Iterable[PassStep]) -> Preprocessing:
    """Return what is left to the caller of a network's preprocessing when the file does these steps.

    A file that computes x = (y − r·M) / (r·S) wants y = (r·pixel − mean) / std with

        mean = r · (m − M · s / S),    std = s / S

    for a network of mean m and std s: 0 and 1 where the file normalises by the network's own."""
    result = network
    for step in steps:
        if step.name == "normalize":
            result = _before_normalize(result, step)
        elif step.name == "channels":
            result = replace(result, channel_order="bgr" if result.channel_order == "rgb" else "rgb")
        elif step.name == "resize":
            result = replace(result, crop_pct=1.0, crop_mode="none", interpolation="none")
        elif step.name == "input-form":
            dtype, layout = step.params.get("dtype", "float32"), step.params.get("layout", "nchw")
            result = replace(result, dtype=dtype, layout=layout)
    return result


def networks_part(caller: Preprocessing, steps: Iterable[PassStep]) -> Preprocessing:
    """Return the network's own preprocessing, when this is left to the caller of a file that does these steps.

    The inverse of callers_part:  m = mean / r + M · std,  s = std · S;  the steps are those from the network
    outwards. What was exact there is exact here: 0 and 1 give M and S."""
    result = caller
    for step in reversed(tuple(steps)):
        if step.name == "normalize":
            result = _behind_normalize(result, step)
        elif step.name == "channels":
            result = replace(result, channel_order="bgr" if result.channel_order == "rgb" else "rgb")
        elif step.name == "resize":
            crop = {name: step.params[name] for name in ("crop_pct", "crop_mode", "interpolation")}
            result = replace(result, **crop)
        elif step.name == "input-form":
            result = replace(result, dtype="float32", layout="nchw")
    return result


def network_preprocessing(recipe: Recipe) -> Preprocessing:
    """Return the preprocessing of the network in this recipe's file, which the file and its caller share."""
    return networks_part(recipe.preprocessing, front_steps(recipe))


def _behind_normalize(caller: Preprocessing, step: PassStep) -> Preprocessing:
    r = float(step.params.get("value_range", 1.0))
    low, high = caller.value_range
    pairs = list(zip(caller.mean, caller.std, step.params["mean"], step.params["std"], strict=True))
    return replace(
        caller,
        mean=tuple(mean / r + inside * std for mean, std, inside, _ in pairs),
        std=tuple(std * inside for _, std, _, inside in pairs),
        value_range=(low / r, high / r),
    )


def _before_normalize(network: Preprocessing, step: PassStep) -> Preprocessing:
    r = float(step.params.get("value_range", 1.0))
    low, high = network.value_range
    ratios = [s / inside for s, inside in zip(network.std, step.params["std"], strict=True)]
    means = [
        r * (m - inside * ratio) for m, inside, ratio in zip(network.mean, step.params["mean"], ratios, strict=True)
    ]
    return replace(network, mean=tuple(means), std=tuple(ratios), value_range=(r * low, r * high))
