"""The name of the file that a model is exported to, if the user names none."""

from __future__ import annotations

import re
from pathlib import Path

from nfexport.sources.model.checkpoint_names import is_checkpoint, without_suffix


def default_file_name(model: str) -> str:
    """Return 'model_best.onnx' for 'runs/model_best.pth.tar', 'name.onnx' for 'hf-hub:org/name@revision', 'make.onnx'
    for 'FILE.py:make', and 'net.onnx' for 'net.pt2'."""
    last = re.split(r"[/\\]", model.rstrip("/\\"))[-1]
    if is_checkpoint(model):
        last = without_suffix(last)
    elif last != model or ":" in model:
        last = last.rpartition(":")[2].partition("@")[0]
    last = last.removesuffix(".pt2")
    if last in ("", ".", "..", "~"):
        last = Path(model.rpartition(":")[2]).expanduser().resolve().name or "model"
    return f"{last}.onnx"
