"""Decode an image as timm's readers do: Pillow's convert('RGB'), or convert('L') for networks of one channel.

So alpha is dropped, a palette is looked up, CMYK is converted by Pillow's formula, 16-bit grey is clipped at 255, and
EXIF rotation is ignored: networks are trained and evaluated on such images.
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
"""Suffixes of the files that are images when a folder is searched."""


def decode(source: Path | bytes, *, channels: int = 3) -> Image.Image:
    """Return the decoded image, in mode RGB, or L for one channel.

    Raises ImageError if the file is missing, not an image, truncated, damaged, or so large that Pillow suspects a
    decompression bomb, and for networks that take neither 1 nor 3 channels."""
    name = "the image" if isinstance(source, bytes) else f"'{source}'"
    if channels not in MODES:
        raise ImageError(f"{name} has 1 or 3 channels, the file takes {channels}", fix="feed arrays instead")
    try:
        # Pillow warns of large images and of damaged EXIF data
        with (
            process.warnings_ignored(),
            Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image,
        ):
            return image.convert(MODES[channels])
    except FileNotFoundError as error:
        raise ImageError(f"there is no image {name}", fix="check the path") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that Pillow can read", fix="convert it to PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which Pillow refuses",
            fix="make it smaller first",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ImageError(f"{name} cannot be decoded ({reason})", fix="fetch or convert it again") from error


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels [height, width, channels], in RGB."""
    array: NDArray[Any] = np.asarray(image, np.uint8)
    return array[:, :, None] if array.ndim == 2 else array
