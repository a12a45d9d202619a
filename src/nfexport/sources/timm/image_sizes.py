"""Image sizes, channels and preprocessing, as in timm's configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.recipe import Preprocessing
from nfexport.sources.model.accepted_sizes import REFUSALS
from nfexport.sources.model.spec import ImageSize


def choose_size(wanted: ImageSize | None, cfg: Any) -> tuple[int, int]:
    """Return (height, width) in pixels; None stands for the size at which timm reports results.

    Raises RecipeError for a size below one pixel."""
    if wanted == "train" or (wanted in (None, "test") and not cfg.test_input_size):
        return cfg.input_size[1], cfg.input_size[2]
    if wanted is None or wanted == "test":
        return cfg.test_input_size[1], cfg.test_input_size[2]
    assert not isinstance(wanted, str)
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    if height < 1 or width < 1:
        raise RecipeError(f"an image size of {height}×{width} has no pixels", fix=_own_size(cfg))
    return height, width


def is_dynamic(model_kwargs: Mapping[str, Any]) -> bool:
    """Say whether arguments of a model let a network of fixed size accept others."""
    strict = model_kwargs.get("strict_img_size", True)
    return bool(model_kwargs.get("dynamic_img_size") or model_kwargs.get("use_naflex")) or strict is False


def with_size(cfg: Any, size: Any) -> Any:
    """Return the configuration of a network that is built for one size only.

    Raises RecipeError if it is no image size."""
    sizes = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(sizes) != 2 or not all(isinstance(pixels, int) and pixels >= 1 for pixels in sizes):
        raise RecipeError(f"img_size={size!r} is no image size", fix=_own_size(cfg))
    return dataclasses.replace(cfg, input_size=(cfg.input_size[0], *sizes), test_input_size=None)


def with_channels(cfg: Any, channels: int) -> Any:
    """Return the configuration of a network that takes so many channels."""
    test = cfg.test_input_size
    return dataclasses.replace(
        cfg,
        input_size=(channels, *cfg.input_size[1:]),
        test_input_size=(channels, *test[1:]) if test else test,
    )


def refused_size(architecture: str, size: tuple[int, int], cfg: Any, error: Exception) -> RecipeError:
    """Return the error for a size that the architecture does not accept."""
    lines = str(error).strip().splitlines()
    if isinstance(error, TypeError) and "img_size" in str(error):
        lines = ["its size is fixed"]
    reason = f" ({lines[0].rstrip('.')})" if lines else ""
    return RecipeError(f"{architecture} does not accept images of {size[0]}×{size[1]}{reason}", fix=_own_size(cfg))


def check_forward(model: torch.nn.Module, architecture: str, size: tuple[int, int], cfg: Any) -> None:
    """Run one image of this size through the model.

    Raises RecipeError if that fails, or if the outputs are not finite: no pixel was left at the network's stride."""
    try:
        with torch.inference_mode():
            output = model(torch.zeros(1, cfg.input_size[0], *size))
    except REFUSALS as error:
        raise refused_size(architecture, size, cfg, error) from error
    if not bool(torch.isfinite(output).all()):
        reason = ValueError("no pixel is left at the network's stride")
        raise refused_size(architecture, size, cfg, reason)


def preprocessing(cfg: Any, size: tuple[int, int]) -> Preprocessing:
    """Return timm's evaluation transform for this size: the test crop at the test size, where there is one."""
    at_test_size = bool(cfg.test_input_size) and size == tuple(cfg.test_input_size[1:])
    crop_pct = cfg.test_crop_pct if at_test_size and cfg.test_crop_pct else cfg.crop_pct
    return Preprocessing(
        mean=for_channels(cfg.mean, cfg.input_size[0]),
        std=for_channels(cfg.std, cfg.input_size[0]),
        crop_pct=float(crop_pct),
        crop_mode=cfg.crop_mode,
        interpolation=cfg.interpolation,
    )


def for_channels(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return means or standard deviations for a number of channels: of another number of them, the average.

    Source: timm, data/loader.py (adapt_to_chs), by which timm's loaders feed such networks."""
    if len(numbers) != channels:
        numbers = (sum(numbers) / len(numbers),) * channels
    return tuple(float(number) for number in numbers)


def checked(preprocessing: Preprocessing, in_channels: int) -> Preprocessing:
    """Return the preprocessing. Raises RecipeError if no image can be prepared with it."""
    for what, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(numbers) != in_channels:
            raise RecipeError(
                f"the network's {what} has {len(numbers)} numbers for {in_channels} channels",
                fix=f"pass --network-{what} with one number for each channel",
            )
    if min(preprocessing.std) <= 0:
        raise RecipeError("a standard deviation must be above 0", fix="pass --network-std above 0")
    if not 0 < preprocessing.crop_pct <= 1:
        raise RecipeError(
            f"a crop of {preprocessing.crop_pct:g} of the image is not possible",
            fix="pass --crop-pct above 0, up to 1",
        )
    return preprocessing


def _own_size(cfg: Any) -> str:
    train, test = cfg.input_size[1], cfg.test_input_size[1] if cfg.test_input_size else None
    also = f", or {test}, its test size" if test and test != train else ""
    return f"pass --image-size {train}, its own{also}"
