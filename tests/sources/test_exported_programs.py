"""Programs of torch.export are taken as a file or as an object, and run no code that the file holds."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nfexport
from nfexport.errors import CheckpointError, UnknownModelError
from tests.own_modules import Tokens


def program() -> torch.export.ExportedProgram:
    batch = torch.export.Dim("n")
    example = (torch.zeros(3, 4, dtype=torch.int64), torch.ones(3, 4))
    return torch.export.export(Tokens().eval(), example, dynamic_shapes=({0: batch}, {0: batch}))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "tokens.pt2"
    torch.export.save(program(), path)
    return path


@pytest.mark.parametrize("opset", [11, 17])
def test_a_file_is_exported_verified_and_rebuilt(saved: Path, tmp_path: Path, opset: int) -> None:
    path = tmp_path / "tokens.onnx"
    made = nfexport.export(str(saved), path, opset=opset)
    assert made.recipe.source.model == "tokens.pt2"
    assert [spec.shape for spec in made.recipe.tensors] == [("batch", 4), ("batch", 4)]
    assert nfexport.verify(path, model=str(saved), bisect=True).passed
    assert nfexport.rebuild(path, model=str(saved), verify=False).reproduced


def test_an_object_is_exported(tmp_path: Path) -> None:
    made = nfexport.export(program(), tmp_path / "tokens.onnx", opset=17)
    assert made.verification is not None
    assert made.verification.passed


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def changed_json(edit: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        raw = json.loads(content)
        edit(raw)
        return json.dumps(raw).encode()

    return change


def call_something(raw: dict[str, Any]) -> None:
    raw["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def evaluate_something(raw: dict[str, Any]) -> None:
    sizes = next(iter(raw["graph_module"]["graph"]["tensor_values"].values()))["sizes"]
    sizes[0] = {"as_expr": {"expr_str": "__import__('os').getcwd()", "hint": None}}


@pytest.mark.parametrize(
    ("edit", "words"), [(call_something, "it calls 'torch.hub.load'"), (evaluate_something, "not a size")]
)
def test_code_in_a_file_is_refused(
    saved: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], None], words: str
) -> None:
    bad = rewritten(saved, tmp_path / "bad.pt2", changed_json(edit))
    with pytest.raises(CheckpointError, match=words):
        nfexport.export(str(bad), tmp_path / "x.onnx")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("nfexport_was_here"),))


def test_a_pickle_in_a_file_is_not_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(name: str, content: bytes) -> bytes:
        return pickle.dumps(Trap()) if "sample_inputs" in name else content

    bad = rewritten(saved, tmp_path / "bad.pt2", change)
    with pytest.raises(CheckpointError):
        nfexport.export(str(bad), tmp_path / "x.onnx")
    assert not (tmp_path / "nfexport_was_here").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="there is no file"):
        nfexport.export(str(tmp_path / "no.pt2"), tmp_path / "x.onnx")
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is damaged, or not a program"):
        nfexport.export(str(tmp_path / "bad.pt2"), tmp_path / "x.onnx")
