"""Resize and crop a picture as timm's evaluation transform does, by Pillow itself.

    s = ⌊size / crop_pct⌋
    center   the shorter side becomes s, and the middle is cut out
    squash   both sides become s, whatever the shape, and the middle is cut out
    border   the longer side becomes s, and what is missing is filled up around it
    none     the picture stays as it is

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
    picture: Image.Image,
    size: tuple[int, int],
    *,
    crop_pct: float,
    crop_mode: str,
    interpolation: str,
    fill: tuple[int, ...] = (0, 0, 0),
) -> Image.Image:
    """Return the picture at size, (height, width) in pixels; fill is the colour of borders.

    Raises RecipeError for a crop mode or an interpolation that timm does not have."""
    if crop_mode == "none":
        return picture
    if crop_mode not in MODES or interpolation not in FILTERS:
        what = f"crop mode '{crop_mode}'" if crop_mode not in MODES else f"interpolation '{interpolation}'"
        known = MODES if crop_mode not in MODES else FILTERS
        raise RecipeError(f"pictures cannot be prepared with {what}", fix=f"use one of {', '.join(known)}")
    scaled = (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct))
    height, width = _target(picture, scaled, crop_mode)
    if (picture.height, picture.width) != (height, width):
        picture = picture.resize((width, height), FILTERS[interpolation])
    return _cut(picture, size, fill if crop_mode == "border" else (0,) * len(fill))


def _target(picture: Image.Image, scaled: tuple[int, int], crop_mode: str) -> tuple[int, int]:
    height, width = picture.height, picture.width
    if crop_mode == "squash":
        return scaled
    if crop_mode == "center" and scaled[0] == scaled[1]:
        if height <= width:
            return scaled[0], int(scaled[0] * width / height)
        return int(scaled[0] * height / width), scaled[0]
    ratios = (height / scaled[0], width / scaled[1])
    ratio = max(ratios) if crop_mode == "border" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _cut(picture: Image.Image, size: tuple[int, int], fill: tuple[int, ...]) -> Image.Image:
    height, width = size
    spare_height, spare_width = max(height - picture.height, 0), max(width - picture.width, 0)
    if spare_height or spare_width:
        border = (spare_width // 2, spare_height // 2, (spare_width + 1) // 2, (spare_height + 1) // 2)
        picture = ImageOps.expand(picture, border=border, fill=fill[0] if picture.mode == "L" else fill)
    top, left = round((picture.height - height) / 2.0), round((picture.width - width) / 2.0)
    return picture.crop((left, top, left + width, top + height))
