"""OpenVINO's intermediate representation of a file: NAME.xml, the graph, and NAME.bin, the weights, next to it.

OpenVINO's own converter writes it, without a timestamp or a path, so the same file gives the same bytes. It
keeps the metadata of the file, so an IR carries its recipe too; nfexport.inspection.openvino_ir reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nfexport.errors import MissingPackage, OnnxFileError
from nfexport.formats import Format, InputForms
from nfexport.recipe.option import Option


class OpenVino(Format):
    """See Format."""

    name = "openvino"
    title = "OpenVINO's IR"
    suffixes = (".xml", ".bin")
    runtime = "openvino"
    options = (
        Option(
            flag="--ir-precision",
            help="What the IR stores its weights in.",
            kind="choice",
            section="Output file",
            choices=("fp32", "fp16"),
            default="fp32",
            commands=("export",),
        ),
    )

    def check(self) -> None:
        """Raise MissingPackage if OpenVINO is not installed."""
        check_openvino()

    def convert(self, onnx_file: Path, folder: Path, stem: str, options: Mapping[str, Any]) -> Path:
        """Write STEM.xml and STEM.bin; see Format."""
        return convert(onnx_file, folder, stem, precision=options["ir_precision"])

    def read_metadata(self, path: Path) -> dict[str, str]:
        """Return the metadata that OpenVINO took over; see Format."""
        from nfexport.inspection import openvino_ir

        return openvino_ir.read_metadata(path)

    def read_inputs(self, path: Path) -> InputForms:
        """Return the parameters of the graph; see Format."""
        from nfexport.inspection import openvino_ir

        return openvino_ir.read_inputs(path)

    def stored_precision(self, path: Path) -> str:
        """Return 'fp16' if the IR decompresses its weights; see Format."""
        from nfexport.inspection import openvino_ir

        return openvino_ir.weights_precision(path)

    def options_of(self, path: Path) -> dict[str, Any]:
        """Return the precision of the weights; see Format."""
        return self.values({"ir_precision": self.stored_precision(path)})


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

    precision is 'fp32' or 'fp16', of the weights; OpenVINO computes in what its device is told. Raises
    OnnxFileError if OpenVINO refuses the file, MissingPackage without OpenVINO."""
    check_openvino()
    import openvino as ov

    target = folder / f"{name}{OpenVino.suffixes[0]}"
    try:
        model = ov.Core().read_model(str(onnx_file))
        for index, operation in enumerate(model.get_ordered_ops()):
            # what the file does not name is numbered by OpenVINO through all that the process has read
            if operation.get_friendly_name() == operation.get_name():
                operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        ov.save_model(model, str(target), compress_to_fp16=precision == "fp16")
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OnnxFileError(
            f"OpenVINO {ov.__version__.partition('-')[0]} cannot convert the file ({reason})",
            fix="leave out --to openvino, or try another --opset",
        ) from error
    return target


def targets_of(onnx_file: Path) -> tuple[Path, Path]:
    """Return the paths of the IR that belongs next to an ONNX file."""
    graph, weights = OpenVino().targets(onnx_file)
    return graph, weights
