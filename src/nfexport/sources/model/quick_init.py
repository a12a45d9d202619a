"""Build a network without drawing the random initial weights that are overwritten anyway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_RANDOM = ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_")
_FILLS = frozenset(
    {
        # functions of torch.nn.init reach a mode whole, those of timm call by call
        *(getattr(torch.nn.init, name) for name in (*_RANDOM, "kaiming_normal_", "orthogonal_", "sparse_")),
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        torch.Tensor.erfinv_,
        torch.Tensor.bernoulli_,
        torch.Tensor.exponential_,
        torch.Tensor.random_,
    }
)


class _SkipRandomFills(TorchFunctionMode):
    """Turns random fills of parameters into no-ops; buffers are filled as usual."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS:
            tensor = args[0] if args else kwargs["tensor"]
            if isinstance(tensor, torch.nn.Parameter):
                return tensor
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_random_init() -> Iterator[None]:
    """Leave parameters unfilled where a constructor would fill them at random, until the block ends; the caller
    overwrites them all.

    The state of torch's global random generator is restored."""
    with torch.random.fork_rng(devices=[]), _SkipRandomFills():
        yield
