"""What PyTorch itself computes: in float64 as the reference, in float32 as the yardstick.

The caller's module is only run, never converted: its weights are widened one by one where an operator uses
them. So a model of 71 M parameters is not held twice, and there is nothing to restore.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from nfexport import process
from nfexport.verification.file_preprocessing import NetworkImages
from nfexport.verification.random_rounding import RandomRounding
from nfexport.verification.tolerance import UNIT

Outputs = dict[str, NDArray[Any]]
FEW = 32
"""Outputs per image below which one random rounding says too little about what float32 costs."""

MOST_RUNS = 8
"""Random roundings of a network with few outputs: the odds that all eight are tenfold too small are 1 in 10⁸."""

MORE_RUNS = 8
"""Random roundings that are added where a file is just beyond what one of them allows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """PyTorch's outputs by name: expected in float64, and two or more runs in float32."""

    expected: Mapping[str, NDArray[np.float64]]
    float32: Mapping[str, tuple[NDArray[np.float32], ...]]

    def has_entries(self, batch: int) -> bool:
        """Say whether the first axis of every output is that of a batch of this size."""
        return all(array.shape[:1] == (batch,) for array in self.expected.values())

    def reversed(self) -> Reference:
        """Return the same with the entries of the batch in the opposite order."""
        return Reference(
            expected={name: array[::-1] for name, array in self.expected.items()},
            float32={name: tuple(run[::-1] for run in runs) for name, runs in self.float32.items()},
        )


class InFloat64(TorchFunctionMode):
    """Inside this mode every operator sees float64 where the model holds or asks for float32.

    Integer, boolean and half tensors stay as they are. Writing into a float32 buffer is lost, which no
    model does in evaluation. The results are bit for bit those of a copy of the module converted by .double()."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") == "__get__":  # an attribute: widening .shape would copy the tensor
            return _widen_dtype(func(*args))
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*map(_widen, args), **{name: _widen(value) for name, value in (kwargs or {}).items()})


def _widen(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.double() if value.dtype is torch.float32 else value
    if type(value) in (list, tuple):
        return type(value)(map(_widen, value))
    return _widen_dtype(value)


def _widen_dtype(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def evaluate(
    module: torch.nn.Module,
    images: Sequence[NetworkImages] | NDArray[np.float32],
    names: Sequence[str],
    *,
    unit: float = UNIT,
) -> Reference:
    """Run the module on one batch in float64 and in float32.

    module: on the CPU, in evaluation mode, float32; images: what preprocessing made of each input in float64 and in
    float32, or one float32 array for all runs of a module with one input; names: of the outputs, in order; unit is
    the relative rounding of the file's arithmetic, 2⁻²³ for float32. Raises ValueError if the module is in training
    mode or has another number of outputs."""
    if module.training:
        raise ValueError("the reference model is in training mode; call .eval() first")
    if isinstance(images, np.ndarray):
        images = (NetworkImages(exact=images, float32=(images,)),)
    # Float32 first: some models (LeViT) cache a derived tensor on their first pass, in that pass's dtype.
    with in_float32():
        count = max((len(one.float32) for one in images), default=1)
        given = [tensors_of(one.float32[i % len(one.float32)] for one in images) for i in range(count)]
        runs = [_run(module, batch, names) for batch in given]
        fewest = min(output.size // (len(output) if output.ndim else 1) for output in runs[0].values())
        for seed in range(min(MOST_RUNS, max(1, -(-FEW // max(fewest, 1))))):
            batch = given[(seed + 1) % len(given)]
            with RandomRounding(seed, *batch, unit=unit):
                runs.append(_run(module, batch, names))
    with in_float64():
        expected = _run(module, tensors_of(one.exact for one in images), names)
    return Reference(expected=expected, float32={name: tuple(run[name] for run in runs) for name in names})


def with_more_runs(
    module: torch.nn.Module, images: Sequence[NetworkImages], reference: Reference, *, unit: float = UNIT
) -> Reference:
    """Return a reference with MORE_RUNS further random roundings; arguments as for evaluate.

    An error that lives in a few outputs, as in the scores of a confident classifier, is rarely caught by one run."""
    names = list(reference.expected)
    runs = []
    with in_float32():
        for seed in range(MOST_RUNS, MOST_RUNS + MORE_RUNS):
            batch = tensors_of(one.float32[seed % len(one.float32)] for one in images)
            with RandomRounding(seed, *batch, unit=unit):
                runs.append(_run(module, batch, names))
    return Reference(
        expected=reference.expected,
        float32={name: (*known, *(run[name] for run in runs)) for name, known in reference.float32.items()},
    )


def run_in_float32(
    module: torch.nn.Module, arrays: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Run the module once, in plain float32, and return its outputs by name; arguments as for evaluate."""
    with in_float32():
        return _run(module, tensors_of(arrays), names)


def tensors_of(arrays: Iterable[NDArray[Any]]) -> tuple[torch.Tensor, ...]:
    """Return arrays as tensors that share their memory."""
    # ascontiguousarray makes a vector of a number
    return tuple(torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape) for array in arrays)


def _run(module: torch.nn.Module, inputs: Sequence[torch.Tensor], names: Sequence[str]) -> Outputs:
    with torch.inference_mode():
        result = module(*inputs)
    tensors = result if isinstance(result, (list, tuple)) else (result,)
    if len(tensors) != len(names):
        raise ValueError(f"the reference model has {len(tensors)} outputs, {len(names)} are named")
    return {name: tensor.detach().numpy() for name, tensor in zip(names, tensors, strict=True)}


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Whatever torch computes inside is float64; masks and grids that a forward pass creates without naming a
    dtype are float64 too."""
    with process.setting(torch.get_default_dtype, torch.set_default_dtype, torch.float64), InFloat64():
        yield


def in_float32() -> contextlib.AbstractContextManager[None]:
    """Products are float32's own: a yardstick taken with TF32 or bfloat16 would let wrong files pass."""
    return process.setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")
