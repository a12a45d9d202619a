"""Facts of OpenVINO's intermediate representation: NAME.xml, the graph, with NAME.bin, the weights, next to it.

OpenVINO keeps the metadata of the ONNX file that it converted under rt_info/framework. Read without OpenVINO.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nfexport.errors import OnnxFileError

SUFFIX = ".xml"
DTYPES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}
"""NumPy's names of OpenVINO's element types."""


def is_ir(path: Path) -> bool:
    """Say whether the name is that of an IR."""
    return path.suffix == SUFFIX


def read_inputs(path: Path) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Return the shape of each input of an IR, None where a dim is free, and NumPy's name of its element type.

    Raises OnnxFileError as read_metadata does."""
    inputs = {}
    for layer in _root(path).iterfind("./layers/layer[@type='Parameter']"):
        data = layer.find("data")
        attributes = {} if data is None else data.attrib
        dims = [dim for dim in attributes.get("shape", "").split(",") if dim]
        shape = tuple(int(dim) if dim.isdecimal() else None for dim in dims)
        inputs[layer.get("name", "")] = (shape, DTYPES.get(attributes.get("element_type", ""), "float32"))
    return inputs


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of the ONNX file that an IR was converted from, by their keys.

    Raises OnnxFileError if the file is not an IR, or its weights are not next to it."""
    root = _root(path)
    entries = root.find("rt_info/framework")
    return {} if entries is None else {entry.tag: entry.get("value", "") for entry in entries}


def weights_precision(path: Path) -> str:
    """Return 'fp16' if a constant of the IR is stored in float16 to be computed in float32, else 'fp32'."""
    compressed = any(
        entry.get("name") == "decompression" for entry in _root(path).iterfind("layers/layer/rt_info/attribute")
    )
    return "fp16" if compressed else "fp32"


def _root(path: Path) -> ElementTree.Element:
    if not path.is_file():
        raise OnnxFileError(f"'{path}' does not exist", fix="check the path")
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise OnnxFileError(f"'{path}' is not an IR of OpenVINO ({error})", fix="export it again") from error
    if root.tag != "net" or root.find("layers") is None:
        raise OnnxFileError(f"'{path}' is not an IR of OpenVINO: it holds <{root.tag}>", fix="export it again")
    if not path.with_suffix(".bin").is_file():
        raise OnnxFileError(
            f"the weights of '{path}' are not next to it", fix=f"put '{path.with_suffix('.bin').name}' there"
        )
    return root
