"""Convert an ONNX file to OpenVINO's intermediate representation: NAME.xml, the graph, and NAME.bin, the weights.

OpenVINO's own converter writes it, without a timestamp or a path, so the same file gives the same bytes. It
keeps the metadata of the file, so an IR carries its recipe too; nfexport.inspection.openvino_ir reads it.
"""

from __future__ import annotations

from pathlib import Path

from nfexport.errors import MissingPackage, OnnxFileError
from nfexport.inspection.openvino_ir import SUFFIX

PRECISIONS = ("fp32", "fp16")
"""Of the weights; OpenVINO computes in what its device is told, whatever they are stored in."""


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
