"""OpenVINO's intermediate representation of a file: NAME.xml, the graph, and NAME.bin, the weights, beside it.

OpenVINO's own converter writes it, without a timestamp or a path, so the same file gives the same bytes. It
keeps the file's metadata under rt_info/framework: an IR carries its recipe too.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nfexport.errors import MissingPackage, OnnxFileError

SUFFIX = ".xml"
PRECISIONS = ("fp32", "fp16")
"""Of the weights; OpenVINO computes in what its device is told, whatever they are stored in."""


def is_ir(path: Path) -> bool:
    """Say whether the name is that of an IR."""
    return path.suffix == SUFFIX


def check_openvino() -> None:
    """Raise MissingPackage if OpenVINO is not installed, before any long work is done for it."""
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            f"OpenVINO cannot be imported ({error})", fix="pip install 'nfexport[openvino]'"
        ) from error


def convert(onnx_file: Path, folder: Path, name: str, *, precision: str = "fp32") -> Path:
    """Write NAME.xml and NAME.bin of an ONNX file into the folder, and return the path of the first.

    precision is 'fp32' or 'fp16', of the weights. Raises OnnxFileError if OpenVINO refuses the file,
    MissingPackage without OpenVINO."""
    check_openvino()
    import openvino as ov

    target = folder / f"{name}{SUFFIX}"
    try:
        model = ov.Core().read_model(str(onnx_file))
        for index, operation in enumerate(model.get_ordered_ops()):
            # what the file does not name is numbered by OpenVINO through all that the process has read
            if operation.get_friendly_name() == operation.get_name():
                operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        ov.save_model(model, str(target), compress_to_fp16=precision == "fp16")
    except Exception as error:  # RuntimeError, mostly
        reason = " ".join(str(error).split())
        raise OnnxFileError(
            f"OpenVINO {ov.__version__.partition('-')[0]} cannot convert the file ({reason})",
            fix="leave out --to openvino, or try another --opset",
        ) from error
    return target


def targets_of(onnx_file: Path) -> tuple[Path, Path]:
    """Return the paths of the IR that belongs beside an ONNX file."""
    return onnx_file.with_suffix(SUFFIX), onnx_file.with_suffix(".bin")


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of the ONNX file that an IR was converted from, by their keys.

    Raises OnnxFileError if the file is no IR, or its weights are not beside it."""
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
        raise OnnxFileError(f"'{path}' is no IR of OpenVINO ({error})", fix="export it again") from error
    if root.tag != "net" or root.find("layers") is None:
        raise OnnxFileError(f"'{path}' is no IR of OpenVINO: it holds <{root.tag}>", fix="export it again")
    if not path.with_suffix(".bin").is_file():
        raise OnnxFileError(
            f"the weights of '{path}' are not beside it", fix=f"put '{path.with_suffix('.bin').name}' there"
        )
    return root
