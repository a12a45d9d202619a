"""Decode a picture as timm's readers do: Pillow's convert('RGB'), or 'L' for networks of one channel.

So alpha is dropped, a palette is looked up, CMYK becomes RGB by Pillow's formula, 16-bit grey is cut off at
255, and an EXIF rotation is ignored: that is what the network was trained and evaluated on.
Source: timm, data/dataset.py (ImageDataset, input_img_mode).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nfexport import process
from nfexport.errors import ImageError

MODES = {1: "L", 3: "RGB"}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"})
"""File names that a search through a folder takes for pictures."""


def decode(source: Path | bytes, *, channels: int = 3) -> Image.Image:
    """Return the picture, in mode RGB, or L for one channel, fully decoded.

    Raises ImageError if it is missing, no picture, cut off, damaged, or so large that Pillow takes it for
    an attack, and for networks of another number of channels."""
    name = "the picture" if isinstance(source, bytes) else f"'{source}'"
    if channels not in MODES:
        raise ImageError(f"{name} has 1 or 3 channels, the file takes {channels}", fix="feed arrays instead")
    try:
        # Pillow warns of large images and of damaged EXIF
        with (
            process.warnings_ignored(),
            Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture,
        ):
            return picture.convert(MODES[channels])
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture {name}", fix="check the path") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is no picture that Pillow knows", fix="convert it to PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has more pixels than Pillow opens ({Image.MAX_IMAGE_PIXELS or 0:,} twice over)",
            fix="make it smaller first",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ImageError(f"{name} cannot be decoded ({reason})", fix="fetch or convert it again") from error


def to_array(picture: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels [height, width, channels], in RGB."""
    array: NDArray[Any] = np.asarray(picture, np.uint8)
    return array[:, :, None] if array.ndim == 2 else array
