"""A file that is not ONNX: one sentence that says what it is, and how to go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nfexport.errors import OnnxFileError
from nfexport.inspection import inspect
from tests.inspection.files import network


def message(path: Path) -> str:
    with pytest.raises(OnnxFileError) as caught:
        inspect(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "FILE")


def test_what_is_not_a_file(tmp_path: Path) -> None:
    assert message(tmp_path / "gone.onnx") == "'FILE' does not exist; check the path"
    assert message(tmp_path) == "'FILE' is a folder; name the .onnx file in it"
    empty = tmp_path / "empty.onnx"
    empty.touch()
    assert message(empty) == "'FILE' is empty; export or download it again"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b"PK\x03\x04" + bytes(100),
            "'FILE' is not an ONNX file: it is a zip archive, as PyTorch writes its checkpoints; "
            "export the model that it belongs to",
        ),
        (
            b"\x80\x02}q\x00.",
            "'FILE' is not an ONNX file: it is a Python pickle, as PyTorch writes its checkpoints; "
            "export the model that it belongs to",
        ),
        (
            b"\n<!DOCTYPE html>\n<html></html>",
            "'FILE' is not an ONNX file: it is a web page, so the download has failed; download the file again",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "'FILE' is not an ONNX file: it is a Git LFS pointer instead of the file itself; "
            "fetch it with 'git lfs pull'",
        ),
        (
            b'\x40\x00\x00\x00\x00\x00\x00\x00{"w":{"dtype":"F32"}}',
            "'FILE' is not an ONNX file: it is a safetensors file; export the model that it belongs to",
        ),
        (b"\x1f\x8b\x08\x00aaaa", "'FILE' is not an ONNX file: it is a gzip archive; unpack it first"),
    ],
)
def test_other_formats_are_named(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert message(path) == expected


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_are_not_onnx(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(seed).bytes(5 + 97 * seed))
    assert "is not an ONNX file: " in message(path) or "is damaged or cut off: " in message(path)


def test_a_cut_off_file_is_told_from_another_format(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(network().SerializeToString()[:-200])
    assert message(path).startswith("'FILE' is damaged or cut off: ")
    assert message(path).endswith("bytes are missing; export it again, or fetch it again")


@pytest.mark.parametrize("data", [b"\x08\x08", b"\x08\x08\x3a\x00", b"hi", b"\x12\x02hi"])
def test_a_message_without_a_graph_is_no_model(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    assert "it holds no graph" in message(path) or "is not an ONNX file" in message(path)
