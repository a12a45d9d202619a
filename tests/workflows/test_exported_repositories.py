"""A repository or a folder is exported, verified and rebuilt: its recipe names the revision, and no path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_MISSING, WeightsUnreachable
from nfexport.recipe.recipe import Provenance
from tests.sources.hub_server import COMMIT, files_of, serving_repository
from tests.sources.saved_model import LABELS, saved_model

NAME = "someone/net"
OPTIONS: dict[str, Any] = {"exporter": "torchscript", "opset": 13, "fold_ws": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("secret place") / "net")


@pytest.fixture(scope="module")
def exported(folder: Path) -> nfexport.ExportResult:
    return nfexport.export(f"local-dir:{folder}", folder.parent / "net.onnx", **OPTIONS)


def test_the_recipe_of_a_folder_holds_its_name_only(exported: nfexport.ExportResult, folder: Path) -> None:
    recipe = exported.recipe
    assert recipe.source.model == "local-dir:net"
    assert "secret place" not in recipe.to_json()
    assert isinstance(recipe.provenance, Provenance)
    assert recipe.provenance.files.keys() >= {"config.json", "model.safetensors"}
    assert (recipe.labels, recipe.num_classes, recipe.in_channels) == (LABELS, 7, 4)
    assert exported.facts.about is not None
    assert exported.facts.about.title == "net"


def test_the_folder_is_named_again_to_verify_and_to_rebuild(exported: nfexport.ExportResult, folder: Path) -> None:
    assert nfexport.verify(exported.path, checkpoint=folder).passed
    assert nfexport.verify(exported.path, checkpoint=folder / "model.safetensors").passed
    assert nfexport.rebuild(exported.path, checkpoint=folder, verify=False).differences == ()
    moved = folder.rename(folder.with_name("moved"))
    try:
        assert nfexport.rebuild(exported.path, checkpoint=moved, verify=False).reproduced
        for act in (nfexport.verify, nfexport.rebuild):
            with pytest.raises(
                WeightsUnreachable, match="exported from the folder 'net', which is not here"
            ) as caught:
                act(exported.path)
            assert (caught.value.exit_code, caught.value.fix) == (EXIT_MISSING, "pass it with --checkpoint DIR")
    finally:
        moved.rename(folder)


def test_two_options_that_contradict_the_folder_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--num-classes",
        "3",
        "--mean",
        "0.5,0.5,0.5,0.5",
        "--std",
        "0.5,0.5,0.5,0.5",
        "--exporter",
        "torchscript",
    ]
    path = tmp_path / "m.onnx"
    assert run([str(folder), *words, "--no-verify", "--json", "-o", str(path)]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes[1:] == [
        "the classifier of 3 classes is seeded (seed 0) and untrained; the trained one has 7",
        "--mean 0.5/0.5/0.5/0.5 replaces the model's own 0.1/0.2/0.3/0.4",
        "--std 0.5/0.5/0.5/0.5 replaces the model's own 0.5/0.6/0.7/0.8",
    ]
    assert nfexport.verify(path, checkpoint=folder).passed
    assert nfexport.rebuild(path, checkpoint=folder, verify=False).differences == ()


def test_a_repository_and_a_second_run_offline(
    folder: Path, tmp_path: Path, point_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    with serving_repository(NAME, files_of(folder)) as address:
        point_at(address)
        recipe = nfexport.export(f"hf-hub:{NAME}", first, verify=False, **OPTIONS).recipe
    assert recipe.source.model == f"hf-hub:{NAME}@{COMMIT}"
    assert isinstance(recipe.provenance, Provenance)
    assert (recipe.provenance.revision, recipe.provenance.name) == (COMMIT, NAME)
    assert (recipe.weights.kind, recipe.labels, recipe.in_channels) == ("hub", LABELS, 4)
    # the hub's client reads its settings when it is imported
    words = ["--exporter", "torchscript", "--opset", "13", "--fold-ws", "--no-verify", "-q", "-o", str(second)]
    done = subprocess.run(
        [sys.executable, "-m", "nfexport", f"hf-hub:{NAME}", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert first.read_bytes() == second.read_bytes()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert nfexport.verify(first).passed
    assert nfexport.rebuild(first, verify=False).reproduced
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(WeightsUnreachable, match="the model hub is unreachable") as caught:
        nfexport.verify(first)
    assert caught.value.exit_code == EXIT_MISSING
    assert caught.value.fix == (
        "set HF_HOME to a cache that holds it, or pass a copy of the repository with --checkpoint DIR"
    )
    for copy in (folder, folder / "model.safetensors"):
        assert nfexport.verify(first, checkpoint=copy).passed
