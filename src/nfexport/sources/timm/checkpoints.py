"""Weights from a file, read by timm's own loaders, which run no code from it."""

from __future__ import annotations

import pickletools
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nfexport import process
from nfexport.errors import CheckpointError
from nfexport.sources.timm.torchvision_operators import import_timm

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")


def load_checkpoint(model: torch.nn.Module, path: Path, *, classifier: str | None = None) -> None:
    """Load a .safetensors, .pth or .pt file into the model, all of it or nothing.

    Wrappers (state_dict, model, their EMA forms, which are preferred) and prefixes (module., _orig_mod.) are
    removed. classifier is the name of the model's last layer, for a more precise error.
    Raises CheckpointError for a file that cannot be read, holds code, or does not fit."""
    state = read_state_dict(path)
    expected = model.state_dict()
    if not _same_shapes(state, expected):
        state = _translated(state, model)
    _check_fit(state, expected, path, classifier)
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


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by name.

    Raises CheckpointError if it cannot be read, or if reading it would mean running code."""
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder", fix="pass the checkpoint file in it")
    if not path.is_file():
        raise CheckpointError(f"there is no file '{path}'", fix="check the path given to --checkpoint")
    if path.suffix.lower() not in _SUFFIXES:
        raise CheckpointError(
            f"'{path}' does not have the file name of a checkpoint", fix="pass a .safetensors, .pth or .pt file"
        )
    try:
        # torch warns about the pickle protocols of files that are refused anyway
        with process.warnings_ignored():
            state = import_timm().models.load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a damaged file
        raise _unreadable(path, error) from error
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"'{path}' holds no state dict", fix="save model.state_dict()")
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise CheckpointError(
            f"'{path}' holds no state dict: '{others[0]}' is a {type(state[others[0]]).__name__}",
            fix="save model.state_dict(), alone or under 'state_dict' or 'model'",
        )
    return dict(state)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    text = str(error.__cause__ or error)
    if "Unsupported global" in f"{error} {text}" or _is_pickle_with_globals(path):
        return CheckpointError(
            f"'{path}' is a pickle with code in it, which was not run",
            fix="save its state dict as .safetensors where you trust it",
        )
    reason = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return CheckpointError(
        f"'{path}' is damaged, or not a checkpoint ({reason.rstrip('.')})", fix="copy or save the file again"
    )


def _is_pickle_with_globals(path: Path) -> bool:
    """Say whether the file is a pickle that names code; its instructions are read, and none is run."""
    if zipfile.is_zipfile(path):
        return False
    names: set[str] = set()
    try:
        with path.open("rb") as file:
            names.update(operation.name for operation, _, _ in pickletools.genops(file))
    except Exception:  # noqa: BLE001  # pickletools raises several kinds for a damaged file
        return False
    return bool(names & {"GLOBAL", "STACK_GLOBAL", "INST"})


def _same_shapes(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return state.keys() == expected.keys() and all(state[name].shape == expected[name].shape for name in expected)


def _translated(state: dict[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Let timm's own filter, where the model's file has one, translate the names of another code base, and resample
    position embeddings of another image size."""
    module = sys.modules.get(type(model).__module__)
    translate: Any = getattr(module, "checkpoint_filter_fn", None)
    if translate is None:
        return state
    try:
        translated = translate(dict(state), model)
    except Exception:  # noqa: BLE001  # timm's filters raise any kind; the comparison of names then says what differs
        return state
    return dict(translated) if isinstance(translated, Mapping) else state


def _check_fit(
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    path: Path,
    classifier: str | None,
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
    head = [name for name in misshaped if classifier and name.startswith(f"{classifier}.")]
    if head and len(head) == len(misshaped) and not missing and not unexpected:
        fix = f"pass --num-classes {state[head[0]].shape[0]}"
    raise CheckpointError(f"'{path}' does not fit the model: {', '.join(parts)}", fix=fix)


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
