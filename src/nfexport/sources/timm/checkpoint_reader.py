"""Read a checkpoint: its tensors, and the plain values next to them. No code from the file is run.

.pth .pt .bin .tar .ckpt    torch's pickles, by its restricted unpickler, which also gets the plain containers that
                            training scripts put next to the weights: argparse.Namespace, numpy scalars, paths
.safetensors                tensors, which stay in the mapped file, and a header of strings
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfexport import process
from nfexport.errors import CheckpointError
from nfexport.recipe.validation import printable
from nfexport.sources.model.checkpoint_names import SUFFIXES

_AVERAGED = ("state_dict_ema", "model_ema")
_RAW = ("state_dict", "model")
"""The keys that timm looks under, in its order."""

_WRAPPERS = ("_orig_mod.", "module.")
"""Prefixes of torch.compile and DistributedDataParallel, in any order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint: its weights by name, and what else is in it.

    rest holds what lies next to the weights in a pickle, or the strings in the header of a .safetensors file.
    averaged tells whether the weights are averaged ones (EMA), or the raw ones next to such; None if there is one set
    only."""

    path: Path
    state: dict[str, torch.Tensor]
    rest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    averaged: bool | None = None


def read_checkpoint(path: Path, *, ema: bool | None = None) -> Checkpoint:
    """Read a checkpoint; of averaged and raw weights take the averaged ones, unless ema is False.

    Raises CheckpointError if it cannot be read, or if reading it would mean running code."""
    _check_path(path)
    if path.suffix.lower() == ".safetensors":
        found, rest = _read_safetensors(path)
        return Checkpoint(path=path, state=_state(found, path), rest=rest)
    content = _read_pickle(path)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"'{path}' holds no state dict", fix="save model.state_dict()")
    key, averaged = _choose(content, path, ema)
    state = content if key is None else content[key]
    weights = {*_AVERAGED, *_RAW, "optimizer"}
    rest = {} if key is None else {str(name): value for name, value in content.items() if name not in weights}
    return Checkpoint(path=path, state=_state(state, path), rest=rest, averaged=averaged)


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder", fix="pass the checkpoint file in it")
    if not path.is_file():
        raise CheckpointError(f"there is no file '{path}'", fix="check the path of the checkpoint")
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(
            f"'{path}' does not have the file name of a checkpoint",
            fix=f"pass a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file",
        )


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    import safetensors
    import safetensors.torch

    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
        return safetensors.torch.load_file(path), dict(header)
    except Exception as error:  # safetensors raises several kinds for a damaged file
        raise _unreadable(path, error) from error


def _read_pickle(path: Path) -> Any:
    """Return the content of torch's pickle.

    This is not timm's loader: its releases up to 1.0.20 read a file again without the restrictions if the first time
    ends in a TypeError, which a file can provoke."""
    try:
        # torch warns about the pickle protocols of files that are refused anyway
        with process.warnings_ignored(), _restricted(), torch.serialization.safe_globals(_containers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise _unreadable(path, error) from error


def _restricted() -> contextlib.AbstractContextManager[None]:
    """Take away the environment variable by which older releases of torch lift the restriction."""
    return process.variable_unset("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")


def _containers() -> list[Any]:
    """Return the classes that hold plain values, under the names that pickles know them by.

    Those of paths become pure ones, which exist on every system and do nothing."""
    scalars = (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.float16, np.float32, np.float64, np.str_)
    classes = [argparse.Namespace, np.dtype, *dict.fromkeys(type(np.dtype(kind)) for kind in scalars)]
    if torch.torch_version.TorchVersion(torch.__version__) < "2.6":
        return classes  # takes no names
    scalar = np.float64(0).__reduce__()[0]
    named = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    for module in ("pathlib", "pathlib._local"):
        for system in ("Posix", "Windows"):
            pure = getattr(pathlib, f"Pure{system}Path")
            named += [(pure, f"{module}.{system}Path"), (pure, f"{module}.Pure{system}Path")]
    return [*classes, *named]


def _choose(content: Mapping[Any, Any], path: Path, ema: bool | None) -> tuple[str | None, bool | None]:
    """Return the key of the weights, None if the content itself is them, and whether they are averaged ones."""
    averaged = next((key for key in _AVERAGED if content.get(key) is not None), None)
    raw = next((key for key in _RAW if key in content), None)
    if averaged is None:
        return raw, None
    if ema is False and raw is None:
        raise CheckpointError(f"'{path}' holds averaged weights only", fix="leave --no-ema out")
    return (raw, False) if ema is False else (averaged, True)


def _state(state: Any, path: Path) -> dict[str, torch.Tensor]:
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"'{path}' holds no state dict", fix="save model.state_dict()")
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise CheckpointError(
            f"'{path}' holds no state dict: {printable(str(others[0]))} is a {type(state[others[0]]).__name__}",
            fix="save model.state_dict(), alone or under 'state_dict' or 'model'",
        )
    return {_unwrapped(str(name)): tensor for name, tensor in state.items()}


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    text = str(error.__cause__ or error)
    unknown = re.search(r"(?:GLOBAL|unrecognized function|but got) (\S.*?)(?: was not| whose|$)", f"{error}", re.M)
    if unknown is not None or next(_globals_of_pickle(path), None) is not None:
        name = unknown[1] if unknown is not None else next(_globals_of_pickle(path))
        return CheckpointError(
            f"'{path}' is a pickle with code in it, which was not run ({printable(name)})",
            fix="save its state dict as .safetensors where you trust it",
        )
    reason = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return CheckpointError(
        f"'{path}' is damaged, or not a checkpoint ({reason.rstrip('.')})", fix="copy or save the file again"
    )


def _globals_of_pickle(path: Path) -> Iterator[str]:
    """Yield the names of code in a file that is a pickle; its instructions are read, and none is run."""
    if zipfile.is_zipfile(path):
        return
    strings: list[str] = []
    found: list[str] = []
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if isinstance(argument, str):
                    strings.append(argument)
                if operation.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    found.append(".".join(strings[-2:]))
    except Exception:  # noqa: BLE001  # pickletools raises several kinds for a damaged file
        return
    yield from found
