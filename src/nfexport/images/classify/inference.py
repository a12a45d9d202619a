"""Run images through a file: batches in, the outputs of each image out, in order and in constant memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import ImageError, InputError, OnnxFileError
from nfexport.images.prefetch import Pixels, read_ahead
from nfexport.images.preprocessor import Preprocessor
from nfexport.runtimes import Session

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOutputs:
    """The outputs of a file for one image, by name, without the batch axis."""

    image: Path
    outputs: Mapping[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skipped:
    """An image that could not be read, and why."""

    image: Path
    error: ImageError


def infer(
    session: Session, preprocessor: Preprocessor, images: Iterable[Path], *, batch: int | None = None
) -> Generator[ImageOutputs | Skipped, None, None]:
    """Yield the outputs for each image, in order.

    batch is the number of images per run: by default the file's own batch size if that is fixed, else 1. Files that
    take images of any size run one image at a time. The last batch of a file with a fixed batch size is filled with
    copies of its last image, whose outputs are dropped. Close the generator to end the threads that decode.
    Raises InputError for another batch size than the file's own, OnnxFileError if the runtime fails."""
    shape = session.inputs[preprocessor.input_name]
    fixed = shape[0] if shape and isinstance(shape[0], int) else None
    if batch is not None and fixed is not None and batch != fixed:
        raise InputError(
            f"the file has a fixed batch size of {fixed} and cannot run batches of {batch}", fix="leave --batch out"
        )
    size = 1 if preprocessor.size is None else batch or fixed or 1
    return _infer(session, preprocessor, images, size=size, fixed=fixed)


def _infer(
    session: Session, preprocessor: Preprocessor, images: Iterable[Path], *, size: int, fixed: int | None
) -> Generator[ImageOutputs | Skipped, None, None]:
    held: list[tuple[Path, Pixels] | Skipped] = []
    count = 0
    with contextlib.closing(read_ahead(preprocessor, images)) as decoded:
        for image, found in decoded:
            if isinstance(found, ImageError):
                held.append(Skipped(image=image, error=found))
            else:
                held.append((image, found))
                count += 1
            if count == size or not count:
                yield from _run(session, preprocessor, held, fixed)
                held, count = [], 0
    yield from _run(session, preprocessor, held, fixed)


def _run(
    session: Session, preprocessor: Preprocessor, held: list[tuple[Path, Pixels] | Skipped], fixed: int | None
) -> Iterator[ImageOutputs | Skipped]:
    read = [entry for entry in held if not isinstance(entry, Skipped)]
    outputs: Mapping[str, Array] = {}
    if read:
        pixels = [pixels for _, pixels in read]
        pixels += pixels[-1:] * ((fixed or 0) - len(pixels))
        try:
            outputs = session.run({preprocessor.input_name: preprocessor.batch(pixels)})
        except RuntimeError as error:
            raise OnnxFileError(
                f"{session.runtime} {session.version} failed on '{read[0][0]}': {error}",
                fix="check the file with 'nfexport verify', or try another --runtime",
            ) from error
    row = 0
    for entry in held:
        if isinstance(entry, Skipped):
            yield entry
        else:
            yield ImageOutputs(
                image=entry[0], outputs={name: np.asarray(value)[row] for name, value in outputs.items()}
            )
            row += 1
