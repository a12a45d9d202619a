"""Folders in the layout of timm's push to the hub: 'local-dir:PATH', or the path of a folder with a config.json.

A recipe holds the name of the folder only, without the folders above it; --checkpoint DIR names the folder again.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from nfexport.errors import CheckpointError, RecipeError, UnknownModelError
from nfexport.sources.model.checkpoint_names import SUFFIXES
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.missing_weights import FOLDER
from nfexport.sources.model.spec import ModelSpec

PREFERRED = (
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
"""The names of files with weights, in timm's order (models/_hub.py)."""

_OTHERS = (*SUFFIXES, ".onnx", ".pt2", ".py", ".toml", ".json", ".xml")


def matches(model: object) -> bool:
    """Say whether it is 'local-dir:PATH', or looks like a folder's path: it has a slash, or is one of . and ~."""
    if not isinstance(model, str):
        return False
    if model.startswith(FOLDER):
        return True
    drive, colon, rest = model.partition(":")
    path = rest if colon and len(drive) == 1 else model
    if ":" in path or path.lower().endswith(_OTHERS):
        return False
    return bool({"/", "\\"} & set(path)) or model in (".", "..", "~")


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the folder's config.json describes, with its weights.

    The folder is the spec's checkpoint, if that is one, else the one that the name tells.
    Raises UnknownModelError if there is no such folder, CheckpointError if it lacks a file, and what a repository
    does."""
    from nfexport.sources.timm import from_repository

    path = spec.name.removeprefix(FOLDER)
    if spec.pretrained:
        raise RecipeError(f"'{path}' is a folder with weights of its own", fix="leave --pretrained out")
    named = spec.checkpoint is not None and spec.checkpoint.is_dir()
    folder = spec.checkpoint if named and spec.checkpoint is not None else Path(path).expanduser()
    _check(folder, path)
    name = _base_name(path) if named and spec.name.startswith(FOLDER) else _base_name(str(folder))
    return from_repository.load(
        spec,
        from_repository.Repository(
            source="local_folders",
            model=f"{FOLDER}{name}",
            name=name,
            what=f"the folder '{folder}'",
            config=folder / "config.json",
            weights=functools.partial(weights_in, folder),
            readme=readme if (readme := folder / "README.md").is_file() else None,
        ),
    )


def weights_in(folder: Path) -> Path:
    """Return the file with the weights. Raises CheckpointError if there is none, or several by other names."""
    for name in PREFERRED:
        if (folder / name).is_file():
            return folder / name
    for suffix in (".safetensors", ".pth", ".pth.tar", ".bin"):
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) > 1:
            raise CheckpointError(
                f"'{folder}' has several weights ({', '.join(path.name for path in found)})",
                fix="pass one of them with --checkpoint FILE",
            )
        if found:
            return found[0]
    raise CheckpointError(
        f"'{folder}' has no weights: neither {PREFERRED[0]} nor {PREFERRED[1]}",
        fix="copy them there, or pass --checkpoint FILE",
    )


def _check(folder: Path, name: str) -> None:
    if not folder.is_dir():
        fix = "pass the path of a folder with config.json"
        if re.fullmatch(r"[\w.-]+/[\w.@-]+", name):
            fix += f", or 'hf-hub:{name}' for a repository of the hub"
        raise UnknownModelError(f"there is no folder '{folder}'", fix=fix)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"'{folder}' has no config.json",
            fix="pass a folder that timm.models.save_for_hf wrote, or nfexport ARCHITECTURE --checkpoint FILE",
        )


def _base_name(path: str) -> str:
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return last if last not in ("", ".", "..", "~") else Path(path).expanduser().resolve().name
