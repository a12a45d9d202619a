"""Run pictures through a file: batches in, one answer a picture out, in order and in constant memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
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
class Answer:
    """What the file gives for one picture: each output by name, without its batch axis."""

    picture: Path
    outputs: Mapping[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skipped:
    """A picture that could not be read, and why."""

    picture: Path
    error: ImageError


def answers(
    session: Session, form: Preprocessor, pictures: Iterable[Path], *, batch: int | None = None
) -> Iterator[Answer | Skipped]:
    """Yield what the file gives for each picture, in order.

    batch is how many run at once: by default what the file asks for if its batch is fixed, else 1. Pictures of
    any size run one at a time, as those of different sizes are no tensor. Where fewer pictures are left than
    the file asks for, the last one is repeated, and what comes out for its copies is dropped.
    Raises InputError for another batch than the file's own, OnnxFileError if the runtime stops."""
    fixed = session.inputs[form.input_name][0] if session.inputs[form.input_name] else None
    size = fixed if isinstance(fixed, int) else None
    if batch is not None and size is not None and batch != size:
        raise InputError(f"the file takes batches of {size} alone, not of {batch}", fix="leave --batch out")
    return _answers(session, form, pictures, at_once=1 if form.size is None else batch or size or 1, fixed=size)


def _answers(
    session: Session, form: Preprocessor, pictures: Iterable[Path], *, at_once: int, fixed: int | None
) -> Iterator[Answer | Skipped]:
    held: list[tuple[Path, Pixels] | Skipped] = []
    count = 0
    with contextlib.closing(read_ahead(form, pictures)) as decoded:
        for picture, found in decoded:
            if isinstance(found, ImageError):
                held.append(Skipped(picture=picture, error=found))
            else:
                held.append((picture, found))
                count += 1
            if count == at_once or not count:
                yield from _run(session, form, held, fixed)
                held, count = [], 0
    yield from _run(session, form, held, fixed)


def _run(
    session: Session, form: Preprocessor, held: list[tuple[Path, Pixels] | Skipped], fixed: int | None
) -> Iterator[Answer | Skipped]:
    read = [entry for entry in held if not isinstance(entry, Skipped)]
    outputs: Mapping[str, Array] = {}
    if read:
        pixels = [pixels for _, pixels in read]
        pixels += pixels[-1:] * ((fixed or 0) - len(pixels))
        try:
            outputs = session.run({form.input_name: form.batch(pixels)})
        except RuntimeError as error:
            raise OnnxFileError(
                f"{session.runtime} {session.version} stopped on '{read[0][0]}': {error}",
                fix="check the file with 'nfexport verify', or try another --runtime",
            ) from error
    row = 0
    for entry in held:
        if isinstance(entry, Skipped):
            yield entry
        else:
            yield Answer(picture=entry[0], outputs={name: np.asarray(value)[row] for name, value in outputs.items()})
            row += 1
