"""From the form of one side to that of another: the same images as pixels, normalised, in another layout or type."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.verification.file_preprocessing import FilePreprocessing, NetworkImages
from nfexport.verification.input_cases import InputCase
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest, TensorsUnderTest

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedUnderTest(ModelUnderTest):
    """A side that is judged, as the verifier takes it: own says what it takes, reference what the reference takes;
    given are the batches, in its own form."""

    own: ModelUnderTest
    reference: ModelUnderTest
    given: tuple[InputCase, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """See ModelUnderTest."""
        return self.own.input_names

    def cases(self, seed: int) -> list[InputCase]:
        """See ModelUnderTest."""
        return list(self.given)

    def to_network(self, arrays: Sequence[Array]) -> tuple[NetworkImages, ...]:
        """See ModelUnderTest; the network is the reference."""
        return converted(arrays, self.own, self.reference)


def form_of(claim: ModelUnderTest) -> FilePreprocessing:
    """Return what a side does to its images before its network; nothing for other inputs."""
    return claim.form if isinstance(claim, ImageModelUnderTest) else FilePreprocessing()


def check_inputs(first: ModelUnderTest, second: ModelUnderTest) -> None:
    """Raise InputError unless two sides take the same number of inputs."""
    names = [claim.input_names for claim in (first, second)]
    if len(names[0]) != len(names[1]):
        raise InputError(
            f"A takes {len(names[0])} inputs ({', '.join(names[0])}), and B takes {len(names[1])} "
            f"({', '.join(names[1])})",
            fix="compare models that take the same, or cut one with nfexport surgery --extract-inputs",
        )


def converted(arrays: Sequence[Array], source: ModelUnderTest, target: ModelUnderTest) -> tuple[NetworkImages, ...]:
    """Return arrays that one side is given as another side takes them: exact, and computed in float32.

    Inputs are matched by their names if both sides have the same, else in order."""
    ordered = _ordered(arrays, source, target)
    given, taken = form_of(source), form_of(target)
    if given.steps == taken.steps:
        return tuple(NetworkImages(exact=array, float32=(array,)) for array in ordered)
    (array,) = ordered
    network = given.to_network(array)
    if not taken.steps:
        return (network,)
    return (
        NetworkImages(
            exact=taken.from_network(np.asarray(network.exact, np.float32)),
            float32=tuple(taken.from_network(run) for run in network.float32),
        ),
    )


def arrays_for(arrays: Sequence[Array], source: ModelUnderTest, target: ModelUnderTest) -> tuple[Array, ...]:
    """Return arrays that one side is given as another side is fed with, in its element types."""
    plain = [one.float32[0] for one in converted(arrays, source, target)]
    if isinstance(target, TensorsUnderTest) and target.tensors:
        return tuple(
            np.ascontiguousarray(array.astype(spec.dtype)).reshape(array.shape)
            for array, spec in zip(plain, target.tensors, strict=True)
        )
    if isinstance(target, ImageModelUnderTest) and not target.form.steps:
        return tuple(np.ascontiguousarray(array.astype(np.float32)) for array in plain)
    return tuple(plain)


def _ordered(arrays: Sequence[Array], source: ModelUnderTest, target: ModelUnderTest) -> list[Array]:
    names = source.input_names
    if names and set(names) == set(target.input_names):
        by_name = dict(zip(names, arrays, strict=True))
        return [by_name[name] for name in target.input_names]
    return list(arrays)
