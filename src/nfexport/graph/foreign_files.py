"""Name the format of a file that was taken for ONNX and is something else."""

from __future__ import annotations

from pathlib import Path

from nfexport.errors import OnnxFileError
from nfexport.graph.wire_format import DamagedError

HEAD = 64
MAGIC = {
    b"PK\x03\x04": (
        "a zip archive, as PyTorch writes its checkpoints",
        "export the model that it belongs to",
    ),
    b"\x80\x02": (
        "a Python pickle, as PyTorch writes its checkpoints",
        "export the model that it belongs to",
    ),
    b"version https://git-lfs": (
        "a Git LFS pointer instead of the file itself",
        "fetch it with 'git lfs pull'",
    ),
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"<?xml": ("XML, as OpenVINO writes the graph of its IR", "name the .onnx file that it was converted from"),
    b"<": ("a web page, so the download has failed", "download the file again"),
}
"""First bytes → the format that they belong to, and what to do."""

IR_VERSION_TAG = b"\x08"
"""Every known writer puts ir_version, field 1, first."""


def check_readable(path: Path) -> None:
    """Raise OnnxFileError if the path is not a file with something in it."""
    if not path.exists():
        raise OnnxFileError(f"'{path}' does not exist", fix="check the path")
    if path.is_dir():
        raise OnnxFileError(f"'{path}' is a folder", fix="name the .onnx file in it")
    if path.stat().st_size == 0:
        raise OnnxFileError(f"'{path}' is empty", fix="export or download it again")


def explain(path: Path, damage: DamagedError) -> OnnxFileError:
    """Return the error for a file that could not be parsed: another format, a cut-off file, or noise."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    for magic, (what, fix) in MAGIC.items():
        if head.lstrip().startswith(magic):
            return OnnxFileError(f"'{path}' is not an ONNX file: it is {what}", fix=fix)
    if head[8:10] == b'{"':
        return OnnxFileError(
            f"'{path}' is not an ONNX file: it is a safetensors file",
            fix="export the model that it belongs to",
        )
    if head.startswith(IR_VERSION_TAG):
        return OnnxFileError(f"'{path}' is damaged or cut off: {damage}", fix="export it again, or fetch it again")
    return OnnxFileError(f"'{path}' is not an ONNX file: {damage}", fix="name a file that ends in .onnx")
