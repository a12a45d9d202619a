"""The batches that two sides are compared on: seeded, recorded, or the user's own arrays and images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.images.files import find_images
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.recipe.tensor_spec import BATCH, TensorSpec
from nfexport.verification.input_cases import InputCase
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest, TensorsUnderTest
from nfexport.workflows.sides.recordings import NPZ, is_recording, read_data_sets, read_npz
from nfexport.workflows.sides.side import FileSide, ModuleSide, RecordedSide, Side

ARRAYS = (NPZ, ".npy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches, in the form that `claim` takes, and a phrase that says where they come from."""

    claim: ModelUnderTest
    cases: tuple[InputCase, ...]
    origin: str


def choose_batches(sides: Sequence[Side], given: Sequence[str | Path], seed: int) -> Batches:
    """Return the user's inputs if some are given, those of a recording if a side is one, else seeded ones.

    Raises InputError for inputs that cannot be read, or that no side takes."""
    running = [side for side in sides if not isinstance(side, RecordedSide)]
    recorded = next((side for side in sides if isinstance(side, RecordedSide)), None)
    claim = shared_claim([side.claim for side in running])
    if given:
        cases = tuple(_given(given, claim, running))
        return Batches(claim=claim, cases=cases, origin=", ".join(map(str, given)))
    if recorded is not None:
        if not recorded.inputs:
            raise InputError(
                f"{recorded.title} holds no inputs, so there is nothing to run the other side on",
                fix="pass what it was recorded on with --inputs, or record the inputs too, under their names",
            )
        cases = tuple(
            _case(f"data set {number}", arrays, claim) for number, arrays in enumerate(recorded.inputs, start=1)
        )
        return Batches(claim=claim, cases=cases, origin=recorded.title)
    return Batches(claim=claim, cases=tuple(claim.cases(seed)), origin=f"seed {seed}")


def shared_claim(claims: Sequence[ModelUnderTest]) -> ModelUnderTest:
    """Return what all sides take, in the form of one of them: of the side that does most to its images itself, as
    bytes cannot be had back from rounded numbers; its batch and sizes are those that every side takes."""
    first = max(claims, key=_depth)
    if isinstance(first, ImageModelUnderTest):
        return _shared_image(first, claims)
    assert isinstance(first, TensorsUnderTest)
    tensors = first.tensors
    others = first.other_sizes
    for claim in claims:
        if isinstance(claim, TensorsUnderTest) and claim is not first:
            tensors = tuple(_narrowed(mine, theirs) for mine, theirs in zip(tensors, claim.tensors, strict=True))
    if any(mine.shape != spec.shape for mine, spec in zip(tensors, first.tensors, strict=True)):
        free = {name for spec in tensors for name in spec.symbols.values()}
        others = tuple(kept for sizes in others if (kept := {k: v for k, v in sizes.items() if k in free}))
    return dataclasses.replace(first, tensors=tensors, other_sizes=others)


def _depth(claim: ModelUnderTest) -> int:
    if not isinstance(claim, ImageModelUnderTest):
        return 0
    return 1 + len(claim.steps)


def _shared_image(first: ImageModelUnderTest, claims: Sequence[ModelUnderTest]) -> ImageModelUnderTest:
    batch: int | Literal["dynamic"] = first.batch
    sizes = first.other_sizes
    for claim in claims:
        if isinstance(claim, ImageModelUnderTest):
            found: int | str = claim.batch
            fixed_size = not claim.other_sizes
            size: tuple[int | str, ...] = claim.image_size
        else:
            assert isinstance(claim, TensorsUnderTest)
            shape = claim.tensors[0].shape
            found = shape[0] if shape else "dynamic"
            size = tuple(shape[-2:])
            fixed_size = not any(isinstance(part, str) for part in size)
        if isinstance(found, int):
            if isinstance(batch, int) and batch != found:
                raise InputError(
                    f"one side takes batches of {batch}, the other batches of {found}",
                    fix="change one with: nfexport surgery IN -o OUT --batch N",
                )
            batch = found
        sizes = () if fixed_size else sizes
        numbers = tuple(part for part in size if isinstance(part, int))
        nhwc = isinstance(claim, TensorsUnderTest) and len(claim.tensors[0].shape) == 4 and first.form.steps
        if not nhwc and len(numbers) == 2 and numbers != first.image_size and fixed_size and not first.form.resizes:
            raise InputError(
                f"one side takes images of {first.image_size[0]}×{first.image_size[1]}, the other of "
                f"{numbers[0]}×{numbers[1]}",
                fix="compare models of one size",
            )
    return dataclasses.replace(first, batch=batch, other_sizes=sizes)


def _narrowed(mine: TensorSpec, theirs: TensorSpec) -> TensorSpec:
    """Return an input with the sizes that the other side fixes."""
    from msgspec.structs import replace

    if len(mine.shape) != len(theirs.shape):
        raise InputError(
            f"the input '{mine.name}' of one side is {mine.describe()}, that of the other is {theirs.describe()}",
            fix="compare models that take the same",
        )
    shape: list[int | str] = []
    for one, other in zip(mine.shape, theirs.shape, strict=True):
        if isinstance(one, int) and isinstance(other, int) and one != other:
            raise InputError(
                f"one side takes {mine.describe()}, the other {theirs.describe()}",
                fix="compare models that take the same",
            )
        shape.append(other if isinstance(other, int) else one)
    low, high = (mine.low, mine.high) if mine.low is not None else (theirs.low, theirs.high)
    sizes = {name: size for name, size in mine.sizes.items() if name in shape}
    return replace(mine, shape=tuple(shape), sizes=sizes, low=low, high=high)


def _given(paths: Sequence[str | Path], claim: ModelUnderTest, sides: Sequence[Side]) -> Iterable[InputCase]:
    images: list[str | Path] = []
    for path in map(Path, paths):
        if path.suffix in ARRAYS:
            yield _case(path.name, read_npz(path), claim)
        elif is_recording(path):
            inputs, _ = read_data_sets(path, claim.input_names, ())
            yield from (_case(f"{path.name} {number}", one, claim) for number, one in enumerate(inputs))
        else:
            images.append(path)
    if images:
        yield from _images(images, claim, sides)


def _case(name: str, arrays: Mapping[str, NDArray[Any]], claim: ModelUnderTest) -> InputCase:
    """Return one batch of arrays by name; the array of an .npy file has none, and is the only input."""
    names = claim.input_names
    if set(arrays) == {""} and len(names) == 1:
        arrays = {names[0]: arrays[""]}
    if missing := [wanted for wanted in names if wanted not in arrays]:
        raise InputError(
            f"'{name}' holds no array '{missing[0]}'",
            fix=f"name its arrays as the inputs are named: {', '.join(names)}",
        )
    ordered = tuple(np.asarray(arrays[wanted]) for wanted in names)
    return InputCase(name=name, batch=_entries(ordered, claim), arrays=ordered)


def _entries(arrays: Sequence[NDArray[Any]], claim: ModelUnderTest) -> int:
    if isinstance(claim, ImageModelUnderTest):
        return len(arrays[0]) if arrays[0].ndim else 1
    assert isinstance(claim, TensorsUnderTest)
    batched = all(spec.symbols.get(0) == BATCH for spec in claim.tensors)
    sizes = {len(array) for array in arrays if array.ndim}
    return sizes.pop() if batched and len(sizes) == 1 else 1


def _images(paths: Sequence[str | Path], claim: ModelUnderTest, sides: Sequence[Side]) -> Iterable[InputCase]:
    """Yield a batch for each image, or as many as a fixed batch holds, prepared as the claim's side wants it."""
    preprocessor = _preprocessor(claim, sides)
    size = claim.batch if isinstance(claim, ImageModelUnderTest) and isinstance(claim.batch, int) else 1
    files = list(find_images(paths))
    for start in range(0, len(files), size):
        chosen = files[start : start + size]
        pixels = [preprocessor.read(file) for file in chosen]
        # a fixed batch is filled with its last image
        pixels += pixels[-1:] * (size - len(pixels))
        name = "+".join(file.name for file in chosen)
        yield InputCase(name=name, batch=size, arrays=(preprocessor.batch(pixels),))


def _preprocessor(claim: ModelUnderTest, sides: Sequence[Side]) -> Preprocessor:
    deepest = max(sides, key=lambda side: _depth(side.claim))
    if isinstance(deepest, FileSide) and deepest.recipe is not None and not deepest.recipe.tensors:
        return preprocessor_of(deepest.recipe)
    known = next((side for side in sides if isinstance(side, ModuleSide) and not side.loaded.tensors), None)
    if known is None or not isinstance(claim, ImageModelUnderTest) or claim.steps:
        raise InputError(
            "neither side says how images are prepared for it",
            fix="pass arrays with --inputs FILE.npz, or name the timm model that one of them is",
        )
    return Preprocessor(
        input_name=claim.input_name,
        size=claim.image_size,
        channels=claim.in_channels,
        preprocessing=known.loaded.preprocessing,
    )
