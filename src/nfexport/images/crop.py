"""Resize and crop an image as timm's evaluation transform does, with Pillow.

    s = ⌊size / crop_pct⌋
    center   resize the shorter side to s, then crop the centre
    squash   resize both sides to s, ignoring the aspect ratio, then crop the centre
    border   resize the longer side to s, then pad to size
    none     leave the image as it is

Source: timm, data/transforms_factory.py (transforms_imagenet_eval), data/transforms.py (ResizeKeepRatio,
CenterCropOrPad); torchvision, transforms/functional.py (resize, center_crop).
"""

from __future__ import annotations

import math

from PIL import Image, ImageOps

from nfexport.errors import RecipeError

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = ("center", "squash", "border", "none")


def resize_and_crop(
    image: Image.Image,
    size: tuple[int, int],
    *,
    crop_pct: float,
    crop_mode: str,
    interpolation: str,
    fill: tuple[int, ...] = (0, 0, 0),
) -> Image.Image:
    """Return the image at size, which is (height, width) in pixels; fill is the colour of the padding.

    Raises RecipeError for a crop mode or an interpolation that timm does not have."""
    if crop_mode == "none":
        return image
    if crop_mode not in MODES or interpolation not in FILTERS:
        what = f"crop mode '{crop_mode}'" if crop_mode not in MODES else f"interpolation '{interpolation}'"
        known = MODES if crop_mode not in MODES else FILTERS
        raise RecipeError(f"images cannot be prepared with {what}", fix=f"use one of {', '.join(known)}")
    scaled = (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct))
    height, width = _resized_size(image, scaled, crop_mode)
    if (image.height, image.width) != (height, width):
        image = image.resize((width, height), FILTERS[interpolation])
    return _center_crop(image, size, fill if crop_mode == "border" else (0,) * len(fill))


def _resized_size(image: Image.Image, scaled: tuple[int, int], crop_mode: str) -> tuple[int, int]:
    height, width = image.height, image.width
    if crop_mode == "squash":
        return scaled
    if crop_mode == "center" and scaled[0] == scaled[1]:
        if height <= width:
            return scaled[0], int(scaled[0] * width / height)
        return int(scaled[0] * height / width), scaled[0]
    ratios = (height / scaled[0], width / scaled[1])
    ratio = max(ratios) if crop_mode == "border" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _center_crop(image: Image.Image, size: tuple[int, int], fill: tuple[int, ...]) -> Image.Image:
    """Return the centre of the image, padded with fill where the image is smaller than size."""
    height, width = size
    missing_height, missing_width = max(height - image.height, 0), max(width - image.width, 0)
    if missing_height or missing_width:
        border = (missing_width // 2, missing_height // 2, (missing_width + 1) // 2, (missing_height + 1) // 2)
        image = ImageOps.expand(image, border=border, fill=fill[0] if image.mode == "L" else fill)
    top, left = round((image.height - height) / 2.0), round((image.width - width) / 2.0)
    return image.crop((left, top, left + width, top + height))
