"""Every tensor that a PyTorch model computes, with the module that computed it.

Tensors are recorded where Python calls torch: one for each function, in the order of the calls, which is the same
in every run of the same module. Functions that exporters take apart, such as Gelu, are also computed step by step
(function_steps.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from nfexport.verification.diagnosis.function_steps import FORMULAS, ON_WEIGHTS, UNBIASED, Steps
from nfexport.verification.file_preprocessing import NetworkImages
from nfexport.verification.random_rounding import RandomRounding
from nfexport.verification.torch_reference import in_float32, in_float64, tensors_of

FEWEST = 2
"""Smallest number of elements of a tensor that tells one step from another."""


RESHAPING = frozenset({"contiguous", "flatten", "reshape", "reshape_as", "squeeze", "unsqueeze", "view", "view_as"})
"""Functions whose result holds the same numbers in the same order; one of the two tensors is recorded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One tensor of the model: the function that gave it ('conv2d', 'gelu: erf'), the path of the module in
    which it was called, the module's class, and its values in float64 and in two or more float32 runs. 'stored'
    is a parameter or buffer, in float32."""

    function: str
    module: str
    module_class: str
    exact: NDArray[Any]
    float32: tuple[NDArray[np.float32], ...]

    @property
    def inside(self) -> bool:
        """True for a step inside a function, as a formula gives it."""
        return ": " in self.function


@dataclasses.dataclass
class _Taken:
    function: str
    module: str
    module_class: str
    array: NDArray[Any]


class _Capture(TorchFunctionMode):
    """Records the results of functions; entered last, it sees what the modes around it made of them."""

    def __init__(self, stack: list[tuple[str, str]], *, on_weights: bool) -> None:
        super().__init__()
        self._formulas = {n: f for n, f in FORMULAS.items() if on_weights or n not in ON_WEIGHTS}
        self.taken: list[_Taken] = []
        self._stack = stack

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if name == "__get":  # an attribute, such as .shape
            return func(*args, **kwargs)
        for part, tensor in _parts(self._formulas.get(name), *args, **kwargs):
            self._take(f"{name}: {part}", tensor)  # before the function, which may write over its argument
        result = func(*args, **kwargs)
        if name not in RESHAPING:
            self._take(name, result)
        for part, tensor in _parts(UNBIASED.get(name), result, *args, **kwargs):
            self._take(f"{name}: {part}", tensor)
        return result

    def _take(self, name: str, result: Any) -> None:
        tensors = result if isinstance(result, (list, tuple)) else (result,)
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.numel() >= FEWEST:
                module, module_class = self._stack[-1] if self._stack else ("", "")
                # a copy: what is written in place later must not change it
                array = tensor.detach().numpy().copy()
                self.taken.append(_Taken(name, module, module_class, array))


def _parts(formula: Callable[..., Steps] | None, *args: Any, **kwargs: Any) -> Steps:
    """Yield the steps of a function, if there is a formula for it that takes these arguments."""
    if formula is None:
        return
    try:
        inspect.signature(formula).bind(*args, **kwargs)
    except TypeError:
        return
    yield from formula(*args, **kwargs)


def capture(
    module: torch.nn.Module, images: Sequence[NetworkImages], *, unit: float, on_weights: bool = True
) -> list[Step]:
    """Run the module on one batch in float64, in float32, and in float32 with random rounding of the relative size
    unit, and return what it computes, in order. images holds what the module receives, input by input.

    on_weights: weight standardisation is taken apart too, at the cost of several copies of the weights.
    module: on the CPU, in evaluation mode.
    Raises ValueError if two runs call different functions."""
    first, last = (tensors_of(one.float32[place] for one in images) for place in (0, -1))
    with in_float32():
        runs = [_run(module, first, on_weights)]
        with RandomRounding(0, *last, unit=unit):
            runs.append(_run(module, last, on_weights))
    with in_float64():
        wanted = _run(module, tensors_of(one.exact for one in images), on_weights)
    if len({len(run) for run in (wanted, *runs)}) != 1:
        raise ValueError("two runs of the model call different functions, so its steps cannot be compared")
    computed = [
        Step(
            function=record.function,
            module=record.module,
            module_class=record.module_class,
            exact=record.array.astype(np.float64, copy=False),
            float32=tuple(run[index].array for run in runs),
        )
        for index, record in enumerate(wanted)
    ]
    return [*computed, *_stored(module)]


def _run(module: torch.nn.Module, inputs: Sequence[torch.Tensor], on_weights: bool) -> list[_Taken]:
    stack: list[tuple[str, str]] = []
    with _following(module, stack), torch.inference_mode(), _Capture(stack, on_weights=on_weights) as mode:
        module(*inputs)
    taken: list[_Taken] = mode.taken
    return taken


def _stored(module: torch.nn.Module) -> Iterator[Step]:
    """Yield the parameters and buffers as steps, without a copy: a file's weights are looked up too."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.numel() >= FEWEST:
            array = tensor.detach().numpy()
            for function, form in (("stored", array), ("stored, transposed", array.T))[: 2 if array.ndim == 2 else 1]:
                path = name.rpartition(".")[0]
                yield Step(function=function, module=path, module_class="", exact=form, float32=(form,))


@contextlib.contextmanager
def _following(module: torch.nn.Module, stack: list[tuple[str, str]]) -> Iterator[None]:
    """Keep the path of the module that is running on top of the stack."""

    def entering(name: str) -> Any:
        return lambda inner, args: stack.append((name, type(inner).__name__))

    def leaving(inner: Any, args: Any, result: Any) -> None:
        stack.pop()

    handles = []
    for name, inner in module.named_modules():
        handles.append(inner.register_forward_pre_hook(entering(name)))
        handles.append(inner.register_forward_hook(leaving))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
