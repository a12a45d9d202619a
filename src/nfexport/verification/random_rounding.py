"""Float32 with its rounding made random: what float32 costs, independent of luck.

One float32 run is one sample of the rounding error, and a lucky one for symmetric inputs: equal values
round equally, and the error cancels. Here each operator's result is multiplied by 1 − u, 1, 1 or 1 + u at
random, u = 2⁻²³, which is Monte Carlo arithmetic (D. Stott Parker, UCLA CSD-970002, 1997) at the grain of
operators. Its error against float64 is what another correct float32 implementation, with another order of
summation, is to be expected to show. Long sums are added up one by one (see long_sums.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nfexport.verification.long_sums import long_sum
from nfexport.verification.tolerance import UNIT

STEPS = np.array([-1.0, 0.0, 0.0, 1.0])
"""Whole units: half a unit below 1 rounds to a whole one half of the time, and 100 operators add the bias up."""

PERIOD = 65537
"""Length of the table of factors. Prime, so that it never falls into step with the axes of a tensor."""

STEP = 7919
"""By how much the table is rotated from one operator to the next; prime to PERIOD."""


WITH_WEIGHTS = ("conv1d", "conv2d", "conv3d", "linear")
"""Operators whose weights are stored rounded in a float16 file: the same error at every pixel, which does
not average out on a flat image."""


class RandomRounding(TorchFunctionMode):
    """Inside this mode float32 results that follow from `inputs` or a parameter carry a random relative error.

    The same seed gives the same errors. Other results, such as a grid of positions, are left alone: whole
    numbers are exact in float32, and floor(2 − 2⁻²³) would be an error of 1. So are views and results that
    are written in place: a copy of them would no longer share memory with what the model holds."""

    def __init__(self, seed: int, *inputs: torch.Tensor, unit: float = UNIT) -> None:
        super().__init__()
        quarter = np.asarray(np.random.Philox(key=seed).random_raw(PERIOD)) >> np.uint64(62)
        row = torch.from_numpy((1.0 + unit * STEPS[quarter]).astype(np.float32))
        self._table = torch.cat([row, row])
        self._offset = 0
        self._stored = unit > UNIT
        self._follows: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for tensor in inputs:
            if tensor.is_floating_point():
                self._follows[tensor] = True

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((*args, *kwargs.values())))
        if self._stored and getattr(func, "__name__", "") in WITH_WEIGHTS:
            args = tuple(self._rounded(value) for value in args)
        result = long_sum(func, args, kwargs, func(*args, **kwargs))
        if not any(isinstance(x, torch.nn.Parameter) or x in self._follows for x in given):
            return result
        if isinstance(result, torch.Tensor):
            result = self._off(result, given)
        elif isinstance(result, tuple) and type(result) is tuple:  # std_mean, var_mean
            result = tuple(self._off(part, given) if isinstance(part, torch.Tensor) else part for part in result)
        for tensor in _tensors((result,)):
            self._follows[tensor] = True
        return result

    def _off(self, result: torch.Tensor, given: list[torch.Tensor]) -> torch.Tensor:
        """Return a result with its random error, unless it shares memory with what the function was given."""
        if result.dtype is not torch.float32:
            return result
        memory = result.untyped_storage().data_ptr()
        shares = any(tensor.untyped_storage().data_ptr() == memory for tensor in given)
        return result if shares else self._perturb(result)

    def _rounded(self, value: Any) -> Any:
        return self._perturb(value.detach()) if isinstance(value, torch.nn.Parameter) else value

    def _perturb(self, tensor: torch.Tensor) -> torch.Tensor:
        self._offset = (self._offset + STEP) % PERIOD
        row = self._table[self._offset : self._offset + PERIOD]
        values = tensor.reshape(-1)
        whole = values.numel() // PERIOD * PERIOD
        result = torch.empty_like(values)
        torch.mul(values[:whole].view(-1, PERIOD), row, out=result[:whole].view(-1, PERIOD))
        torch.mul(values[whole:], row[: values.numel() - whole], out=result[whole:])
        return result.view(tensor.shape)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
