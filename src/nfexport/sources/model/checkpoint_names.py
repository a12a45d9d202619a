"""The file names of checkpoints. Importing this module is cheap: sources ask it about every model."""

from __future__ import annotations

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""Those of .pth.tar, by which timm's training script calls its checkpoints, end in .tar."""


def is_checkpoint(text: str) -> bool:
    """Say whether a text can be the path of a checkpoint: 'runs/model_best.pth.tar'; 'KIND:…' is none."""
    kind, colon, _ = text.partition(":")
    return text.lower().endswith(SUFFIXES) and not (colon and len(kind) > 1)


def without_suffix(name: str) -> str:
    """Return the name of a file without the suffixes of a checkpoint: 'model_best' for 'model_best.pth.tar'."""
    for _ in range(2):
        stem, _, suffix = name.rpartition(".")
        if not stem or f".{suffix.lower()}" not in SUFFIXES:
            break
        name = stem
    return name
