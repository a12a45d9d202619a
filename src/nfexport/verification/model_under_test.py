"""What a file under verification says of its interface and its arithmetic."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from numpy.typing import NDArray

from nfexport.recipe.recipe import Output, PassStep, Preprocessing
from nfexport.recipe.tensor_spec import TensorSpec
from nfexport.verification.file_preprocessing import FilePreprocessing, NetworkImages
from nfexport.verification.input_cases import InputCase, default_cases
from nfexport.verification.tensor_cases import tensor_cases
from nfexport.verification.tolerance import Float32Tolerance, Int8Tolerance, default_tolerance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelUnderTest(abc.ABC):
    """The interface and the arithmetic of a file, as its recipe or its user states them.

    precision is 'float32', 'fp16', 'fp16-weights' or 'int8'; int8_bound is the rms error, relative to the output's
    range, that an int8 file may have. weights_kept says that no pass changed a weight other than by folding its
    standardisation or by rounding it; weights_explained that the network accounts for every number that the file
    stores; factors_moved that tensors of the file may be multiples of the network's own, as constant factors were
    moved."""

    outputs: tuple[Output, ...]
    precision: str = "float32"
    weights_kept: bool = False
    weights_explained: bool = False
    factors_moved: bool = False
    int8_bound: float | None = None

    @property
    def tolerance(self) -> Float32Tolerance | Int8Tolerance:
        """The default rule for the file."""
        if self.int8_bound is not None:
            return Int8Tolerance(bound=self.int8_bound)
        return default_tolerance(self.precision)

    @property
    @abc.abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """The names of the file's inputs, in order."""

    @abc.abstractmethod
    def cases(self, seed: int) -> list[InputCase]:
        """Return the batches that the file is compared on, in the form that it takes."""

    @abc.abstractmethod
    def to_network(self, arrays: Sequence[NDArray[Any]]) -> tuple[NetworkImages, ...]:
        """Return what the network receives, input by input, of arrays that the file is given."""

    def feeds(self, arrays: Sequence[NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return arrays by the names of the inputs, as a runtime takes them."""
        return dict(zip(self.input_names, arrays, strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageModelUnderTest(ModelUnderTest):
    """A file that takes one image.

    batch is a fixed size or 'dynamic'. image_size is (height, width) of the network's images in pixels, and
    other_sizes are further sizes that the file takes. preprocessing is the network's own; steps are the
    passes that do some of it inside the file, from the network outwards."""

    input_name: str
    batch: int | Literal["dynamic"]
    image_size: tuple[int, int]
    in_channels: int
    preprocessing: Preprocessing
    steps: tuple[PassStep, ...] = ()
    other_sizes: tuple[tuple[int, int], ...] = ()

    @property
    def form(self) -> FilePreprocessing:
        """The preprocessing that the file does itself."""
        return FilePreprocessing(steps=self.steps, image_size=self.image_size)

    @property
    def input_names(self) -> tuple[str, ...]:
        """See ModelUnderTest."""
        return (self.input_name,)

    def to_network(self, arrays: Sequence[NDArray[Any]]) -> tuple[NetworkImages, ...]:
        """See ModelUnderTest."""
        return tuple(map(self.form.to_network, arrays))

    def cases(self, seed: int) -> list[InputCase]:
        """See ModelUnderTest; a file that takes other sizes too gets one batch more for each of them."""
        form = self.form
        sizes = form.source_sizes() or (self.image_size, *self.other_sizes)
        cases: list[InputCase] = []
        for index, size in enumerate(sizes):
            drawn = default_cases(
                seed=seed + index,
                batch=self.batch,
                in_channels=self.in_channels,
                image_size=size,
                preprocessing=self.preprocessing,
            )
            # a batch of its own for each of the other sizes: the smallest one there is
            chosen = drawn if index == 0 else [min(drawn, key=lambda case: case.batch)]
            at = "" if len(sizes) == 1 else f" {size[0]}×{size[1]}"
            cases += [
                dataclasses.replace(case, name=f"{case.name}{at}", arrays=(form.from_network(case.array),))
                for case in chosen
            ]
        return cases


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorsUnderTest(ModelUnderTest):
    """A file that takes tensors as the network does: several inputs, or other than one image.

    other_sizes are further values of the symbolic sizes, by name, that the file takes."""

    tensors: tuple[TensorSpec, ...]
    other_sizes: tuple[Mapping[str, int], ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """See ModelUnderTest."""
        return tuple(spec.name for spec in self.tensors)

    def to_network(self, arrays: Sequence[NDArray[Any]]) -> tuple[NetworkImages, ...]:
        """See ModelUnderTest."""
        return tuple(NetworkImages(exact=array, float32=(array,)) for array in arrays)

    def cases(self, seed: int) -> list[InputCase]:
        """See ModelUnderTest."""
        return tensor_cases(self.tensors, self.other_sizes, seed=seed)
