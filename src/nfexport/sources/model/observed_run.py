"""One run of a user's own module: what it returns, whether it draws random numbers, and where it reads numbers.

A module that reads a number of a tensor (`if x.sum() > 0`, `.item()`) may decide by it, and a traced graph holds the
decision of one run.
"""

from __future__ import annotations

import dataclasses
import linecache
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nfexport.sources.model.module_call import ModuleCall, flatten

READS = frozenset({"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy"})
"""Methods of a tensor by which Python sees its numbers."""

MOST = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """The tensors that a module returned, with their names; random says whether it drew random numbers of torch, and
    reads names the places where it read numbers that follow from its inputs: 'model.py, line 12'."""

    tensors: Sequence[tuple[str, torch.Tensor]]
    random: bool
    reads: tuple[str, ...]


def observe(module: torch.nn.Module, call: ModuleCall, tensors: Sequence[torch.Tensor]) -> ObservedRun:
    """Run a module once. Raises whatever it raises, and RecipeError if it returns something else than tensors."""
    before = torch.get_rng_state()
    with torch.inference_mode(), _Watching(tensors) as mode:
        result = call.call(module, tensors)
    drew = not torch.equal(before, torch.get_rng_state())
    found = list(flatten(result, of=type(module).__name__))
    return ObservedRun(tensors=found, random=drew, reads=tuple(mode.places))


class _Watching(TorchFunctionMode):
    """Follows what is computed from the inputs, and remembers where it is read."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.places: list[str] = []
        self._follows: Any = WeakIdKeyDictionary()  # torch does not type it
        for tensor in inputs:
            self._follows[tensor] = True

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        for value in (*args, *kwargs.values()):
            if isinstance(value, list | tuple):
                given += [part for part in value if isinstance(part, torch.Tensor)]
        follows = any(tensor in self._follows for tensor in given)
        if follows and name in READS:
            self._remember()
        result = func(*args, **kwargs)
        if follows:
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, torch.Tensor):
                    self._follows[tensor] = True
        return result

    def _remember(self) -> None:
        place = _place()
        if place not in self.places and len(self.places) < MOST:
            self.places.append(place)


def _place() -> str:
    """Return the line of the module's own code that reads a number: the innermost one outside torch."""
    here = Path(__file__).name
    for frame in reversed(traceback.extract_stack()):
        inside = any(part in frame.filename for part in (f"torch{'/'}nn", f"torch{'/'}overrides", f"torch{'/'}_"))
        if Path(frame.filename).name == here or inside:
            continue
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        shown = f": {line[:80]}" if line else ""
        return f"{Path(frame.filename).name}, line {frame.lineno}{shown}"
    return "its forward"
