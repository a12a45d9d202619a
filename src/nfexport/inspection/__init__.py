"""Facts of any ONNX file, read without torch and without loading its weights."""

from __future__ import annotations

from nfexport.inspection.facts import FileFacts, TensorFacts, inspect

__all__ = ["inspect", "FileFacts", "TensorFacts"]
