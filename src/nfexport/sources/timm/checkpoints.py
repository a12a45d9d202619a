"""Put the tensors of a checkpoint into a model: all of them or nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nfexport.errors import CheckpointError


def load_state(
    model: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    *,
    classifiers: Sequence[str] = (),
    first_convolutions: Sequence[str] = (),
) -> None:
    """Load tensors that were read from the path into the model.

    classifiers and first_convolutions are names of layers whose shapes follow from the number of classes and of
    channels, for more precise errors. Raises CheckpointError if they do not fit, or are not finite."""
    state = dict(state)
    expected = model.state_dict()
    if not _same_shapes(state, expected):
        state = translated(state, model)
    _check_fit(state, expected, path, classifiers, first_convolutions)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"'{path}' holds values that are not finite, in {name}", fix="use an earlier checkpoint"
            )
    _share(state, model)
    model.load_state_dict(state, strict=False)


def _share(state: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    """Let parameters share the tensors of the state, and remove those from it; what cannot be shared stays.

    A .safetensors file is memory-mapped: its weights are read when they are needed. Tensors on the same memory are
    not shared twice, as parameters on the same memory would count as one."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names = Counter(map(id, parameters.values()))
    taken: set[int] = set()
    for name, parameter in parameters.items():
        tensor = state[name]
        address = tensor.data_ptr()
        alike = (tensor.dtype, tensor.device, tensor.stride()) == (
            parameter.dtype,
            parameter.device,
            parameter.stride(),
        )
        if alike and names[id(parameter)] == 1 and address not in taken and address % tensor.element_size() == 0:
            parameter.data = state.pop(name)
            taken.add(address)


def _same_shapes(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return state.keys() == expected.keys() and all(state[name].shape == expected[name].shape for name in expected)


def translated(state: dict[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Let timm's own filter, where the model's file has one, translate the names of another code base, and resample
    position embeddings of another image size."""
    module = sys.modules.get(type(model).__module__)
    translate: Any = getattr(module, "checkpoint_filter_fn", None)
    if translate is None:
        return state
    try:
        result = translate(dict(state), model)
    except Exception:  # noqa: BLE001  # timm's filters raise any kind; the comparison of names then says what differs
        return state
    return dict(result) if isinstance(result, Mapping) else state


def _check_fit(
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    path: Path,
    classifiers: Sequence[str],
    first_convolutions: Sequence[str],
) -> None:
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    misshaped = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    if not missing and not unexpected and not misshaped:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing ({_first(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} are unexpected ({_first(unexpected)})")
    if misshaped:
        shapes = [f"{n} {tuple(state[n].shape)} for {tuple(expected[n].shape)}" for n in misshaped]
        parts.append(f"{len(misshaped)} have another shape ({_first(shapes)})")
    fix = "pass the architecture that the checkpoint was trained with"
    if missing and not unexpected and not misshaped and not _outside(missing, classifiers):
        fix = "pass --num-classes 0 for the network without its classifier"
    elif misshaped and not missing and not unexpected:
        if not _outside(misshaped, classifiers):
            fix = f"pass --num-classes {state[misshaped[0]].shape[0]}"
        elif not _outside(misshaped, first_convolutions) and state[misshaped[0]].ndim == 4:
            fix = f"pass --in-chans {state[misshaped[0]].shape[1]}"
    raise CheckpointError(f"'{path}' does not fit the model: {', '.join(parts)}", fix=fix)


def _outside(names: Sequence[str], layers: Sequence[str]) -> list[str]:
    return [name for name in names if name.rpartition(".")[0] not in layers]


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
