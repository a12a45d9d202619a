"""Toy files for the tests of targets, written as ONNX text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser

from nfexport.targets import Finding, check

Array = np.ndarray[Any, Any]


def write(
    path: Path, body: str, *, opset: int = 17, weights: Mapping[str, Array] | None = None, domains: str = ""
) -> Path:
    """Write a file of this graph (and functions behind it), with these arrays as initializers; return the path."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{domains}]>\n{body}')
    for name, array in (weights or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def graph(nodes: str, *, outputs: str = "float[1,3,8,8] y") -> str:
    """Return a graph of these nodes, from x to y."""
    return f"g (float[1,3,8,8] x) => ({outputs}) {{ {nodes} }}"


def findings(path: Path, target: str) -> list[Finding]:
    """Return what a target's table has against a file."""
    return list(check(path, [target], attempt=False).findings)


def lone(path: Path, target: str) -> Finding:
    """Return the one finding."""
    (finding,) = findings(path, target)
    return finding
