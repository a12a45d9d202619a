"""Repositories of the hub and folders like them: what config.json says is used, and checked before it is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from nfexport import sources
from nfexport.cli import run
from nfexport.errors import (
    EXIT_INPUT,
    EXIT_MISSING,
    CheckpointError,
    RecipeError,
    UnknownModelError,
    WeightsUnreachable,
)
from nfexport.sources import ModelSpec, hub_repositories, load, local_folders
from nfexport.sources.model.digest import state_digest
from tests.sources.hub_server import COMMIT, files_of, serving_repository
from tests.sources.saved_model import LABELS, MEAN, STD, saved_model, timms_model

NAME = "someone/net"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("saved") / "net")


@pytest.mark.parametrize("name", ["hf-hub:a/b", "hf_hub:a/b@v1", "timm/nfnet_l0.ra2_in1k", "timm/x@main"])
def test_names_of_repositories(name: str) -> None:
    assert sources.resolve(name) is hub_repositories


@pytest.mark.parametrize(
    "name", ["local-dir:x", "./x", "../x", ".", "~/x", "runs/x", "/x/y", r"C:\x", r"a\b", "a/b/"]
)
def test_names_of_folders(name: str) -> None:
    assert sources.resolve(name) is local_folders


@pytest.mark.parametrize("name", ["nfnet_l0", "kind:a/b", "a/b.py", "a/b.py:f", "a/b.pt2", "pkg.module:f"])
def test_other_names_are_neither(name: str) -> None:
    assert not hub_repositories.matches(name)
    assert not local_folders.matches(name)


def check(loaded: sources.LoadedModel, folder: Path) -> None:
    """Assert that a loaded model is that of the folder, as timm itself reads it."""
    theirs = timms_model(folder)
    assert loaded.weights.digest == state_digest(theirs)
    image = torch.rand(2, 4, 96, 96)
    with torch.inference_mode():
        assert torch.equal(loaded.module(image), theirs(image))
    assert (loaded.architecture, loaded.num_classes, loaded.in_channels) == ("test_nfnet", 7, 4)
    assert (loaded.image_size, loaded.labels) == ((96, 96), LABELS)
    pre = loaded.preprocessing
    assert (pre.mean, pre.std, pre.crop_pct, pre.interpolation) == (MEAN, STD, 0.8, "bilinear")
    assert loaded.about is not None
    assert loaded.about.licence in (
        "cc-by-4.0",
        "apache-2.0",
    )  # timm's releases keep that of the architecture, or not


def test_a_folder_is_read_as_timm_reads_it(folder: Path) -> None:
    for name in (f"local-dir:{folder}", str(folder), f"{folder}/"):
        loaded = load(ModelSpec(name=name))
        check(loaded, folder)
        assert loaded.weights.kind == "checkpoint"
        assert loaded.resolved["model"] == "local-dir:net"
        provenance = loaded.provenance
        assert provenance is not None
        assert (provenance.source, provenance.name, provenance.revision) == ("local_folders", "net", None)
        assert {"config.json", "model.safetensors"} <= set(provenance.files)
    assert loaded.notes[0].startswith(
        "architecture test_nfnet, 7 classes, 4 channels, 96 × 96 px, mean 0.1/0.2/0.3/0.4"
    )


def test_a_repository_is_fetched_once_and_found_in_the_cache(
    folder: Path, point_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_repository(NAME, files_of(folder)) as address:
        point_at(address)
        first = load(ModelSpec(name=f"hf-hub:{NAME}"))
    check(first, folder)
    assert first.weights.kind == "hub"
    assert first.resolved["model"] == f"hf-hub:{NAME}@{COMMIT}"
    assert first.provenance is not None
    assert (first.provenance.source, first.provenance.name) == ("hub_repositories", NAME)
    assert first.provenance.revision == COMMIT
    # the server is gone; a commit is found without asking for it
    monkeypatch.setattr("nfexport.sources.timm.hub._answers", lambda repository: pytest.fail("asked the hub"))
    again = load(ModelSpec(name=f"hf_hub:{NAME}@{COMMIT}"))
    assert (again.weights, again.provenance, again.about) == (first.weights, first.provenance, first.about)
    monkeypatch.setattr("nfexport.sources.timm.hub._answers", lambda repository: False)
    assert load(ModelSpec(name=f"hf-hub:{NAME}")).provenance == first.provenance


def test_weights_that_are_a_pickle_are_read_without_code(tmp_path: Path) -> None:
    check(load(ModelSpec(name=str(saved_model(tmp_path / "net", safe=False)))), tmp_path / "net")
    assert not (tmp_path / "net" / "model.safetensors").exists()


def test_the_older_layout_of_timm(folder: Path, tmp_path: Path) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    arguments = config.pop("model_args")
    flat = {"architecture": "test_nfnet", "num_features": 3, **config["pretrained_cfg"], "labels": list(LABELS)}
    (old / "config.json").write_text(json.dumps({**flat, "num_classes": 7, "input_size": [4, 96, 96]}))
    loaded = load(ModelSpec(name=str(old), model_kwargs={"global_pool": arguments["global_pool"]}))
    assert (loaded.num_classes, loaded.in_channels, loaded.labels) == (7, 4, LABELS)
    assert loaded.weights.digest == load(ModelSpec(name=str(folder))).weights.digest


def test_labels_by_number_and_with_descriptions(tmp_path: Path) -> None:
    named = {str(number): f"n{number}" for number in range(7)}
    descriptions = {"n0": "a cat", "n3": "a dog"}
    folder = saved_model(tmp_path / "net", label_names=named, label_descriptions=descriptions)
    assert load(ModelSpec(name=str(folder))).labels == ("a cat", "n1", "n2", "a dog", "n4", "n5", "n6")


def test_the_licence_of_the_readme(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"].pop("license", None)
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load(ModelSpec(name=str(folder)))
    assert loaded.about is not None
    assert loaded.about.licence == "cc-by-4.0"
    assert loaded.provenance is not None
    assert "README.md" in loaded.provenance.files


def test_other_classes_and_channels_than_the_repositorys(folder: Path) -> None:
    own = load(ModelSpec(name=str(folder)))
    loaded = load(ModelSpec(name=str(folder), num_classes=3, in_chans=1, seed=2))
    assert (loaded.num_classes, loaded.in_channels, loaded.labels, loaded.weights.seed) == (3, 1, None, 2)
    assert loaded.notes[1:3] == (
        "the first convolution, trained with 4 channels, is summed for 1, as timm does",
        "the classifier of 3 classes is seeded (seed 2) and untrained; the trained one has 7",
    )
    weight = own.module.get_parameter("stem.conv1.weight").sum(1, keepdim=True)
    assert torch.equal(loaded.module.get_parameter("stem.conv1.weight"), weight)
    again = load(ModelSpec(name=str(folder), num_classes=3, in_chans=1, seed=2))
    assert again.weights == loaded.weights
    assert load(ModelSpec(name=str(folder), num_classes=0)).num_classes == 0


def test_weights_of_another_file(folder: Path, tmp_path: Path) -> None:
    other = load(ModelSpec(name="test_nfnet", num_classes=7, in_chans=4, seed=9))
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(other.module.state_dict(), path)
    loaded = load(ModelSpec(name=str(folder), checkpoint=path))
    assert (loaded.weights.kind, loaded.weights.digest) == ("checkpoint", other.weights.digest)
    assert loaded.provenance is not None
    assert set(loaded.provenance.files) == {"config.json"}
    (tmp_path / "bare").mkdir()
    shutil.copy(folder / "config.json", tmp_path / "bare" / "config.json")
    assert load(ModelSpec(name=str(tmp_path / "bare"), checkpoint=path)).weights.digest == other.weights.digest


BAD: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "is damaged: it is not JSON"),
    ("[" * 20_000, "is damaged: it is not JSON"),
    ("[]", "is damaged: it is not a JSON object"),
    (
        '{"architectures": ["BitForImageClassification"], "model_type": "bit"}',
        "no architecture of timm .*transformers",
    ),
    ({"architecture": "xyzzy"}, "names the architecture 'xyzzy', which timm does not have"),
    ({"architecture": "test_nfnett"}, "which timm does not have; did you mean test_nfnet"),
    ({"num_classes": "7"}, r"expected `int \| null`, got `str` - at `\$.num_classes`"),
    ({"num_classes": 7, "label_names": list("abcdef")}, "has 6 labels for 7 classes"),
    ({"label_names": {"0": "a", "2": "b"}}, "numbers its labels with gaps"),
    ({"label_names": ["\x1b[31m"] * 7}, "control characters or markup"),
    ({"pretrained_cfg": []}, "is not valid: expected `object"),
    ({"pretrained_cfg": {"mean": "0.5"}}, "is not valid: expected `array"),
    ({"pretrained_cfg": {"mean": [0.5], "std": [0.0]}}, "is not valid"),
    ({"pretrained_cfg": {"mean": [0.5, 0.5], "std": [1.0]}}, "mean .* std .* is not possible"),
    ({"pretrained_cfg": {"input_size": [4, 96]}}, "is not valid: expected `array`? of length 3|length 3"),
    ({"pretrained_cfg": {"crop_pct": 2.0}}, "crop_pct 2 is not possible"),
    ({"pretrained_cfg": {"interpolation": "random"}}, "invalid enum value 'random'"),
    ({"model_args": {"xyzzy": 1}}, "test_nfnet has no argument 'xyzzy'"),
    ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "model_args 'checkpoint_path'"),
    ({"model_args": {"features_only": True}}, "model_args 'features_only'"),
    ({"model_args": {"act_layer": {"a": 1}}}, "model_args 'act_layer'"),
    ({"model_args": {"in_chans": 0}}, "model_args in_chans = '0'"),
    ({"model_args": {"in_chans": 3, "num_classes": 7}}, "another shape.*pass --in-chans 4"),
    ({"num_classes": 5, "label_names": None, "model_args": None}, "another shape|does not fit"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_config_that_is_not_right(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any] | str,
    message: str,
) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    file = bad / "config.json"
    if isinstance(change, dict):
        written = {**json.loads(file.read_text()), **change}
        change = json.dumps({key: value for key, value in written.items() if value is not None})
    file.write_text(change)
    assert run([str(bad), "-o", str(tmp_path / "m.onnx")]) == EXIT_INPUT
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_a_folder_that_lacks_a_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"there is no folder .*; pass .*, or 'hf-hub:no/such' for a repo"):
        load(ModelSpec(name="no/such"))
    with pytest.raises(CheckpointError, match=r"has no config\.json; pass a folder that"):
        load(ModelSpec(name=str(tmp_path)))
    shutil.copy(folder / "config.json", tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"has no weights: neither model\.safetensors nor pytorch_model\.bin"):
        load(ModelSpec(name=str(tmp_path)))
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"has several weights \(a.pth, b.pth\)"):
        load(ModelSpec(name=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is damaged"):
        load(ModelSpec(name=str(tmp_path)))
    with pytest.raises(RecipeError, match="is a folder with weights of its own; leave --pretrained out"):
        load(ModelSpec(name=str(folder), pretrained=True))


@pytest.mark.parametrize(
    ("name", "served", "kind", "message"),
    [
        ("hf-hub:net", {}, UnknownModelError, "cannot be a repository of the hub; pass hf-hub:org/name"),
        ("hf-hub:a/b/c", {}, UnknownModelError, "cannot be a repository of the hub"),
        ("hf-hub:../b", {}, UnknownModelError, "cannot be a repository of the hub"),
        ("hf-hub:no/such", {}, WeightsUnreachable, "the hub does not have them"),
        (f"hf-hub:{NAME}@v9", {}, WeightsUnreachable, "has no revision v9"),
        (f"hf-hub:{NAME}", {}, CheckpointError, "has no config.json"),
        (f"hf-hub:{NAME}", {"config.json": b"{"}, CheckpointError, "config.json of the repository .* is damaged"),
        (f"hf-hub:{NAME}", {"config.json": b'{"architecture": "test_nfnet"}'}, CheckpointError, "has no weights"),
    ],
)
def test_a_repository_that_is_not_right(
    point_at: Callable[[str], None], name: str, served: dict[str, bytes], kind: type[Exception], message: str
) -> None:
    with serving_repository(NAME, served) as address:
        point_at(address)
        with pytest.raises(kind, match=message):
            load(ModelSpec(name=name))


def test_out_of_reach_the_two_ways_on_are_named(point_at: Callable[[str], None]) -> None:
    point_at("http://127.0.0.1:9")
    with pytest.raises(
        WeightsUnreachable, match="the model hub is unreachable, and its cache does not hold"
    ) as caught:
        load(ModelSpec(name=f"hf-hub:{NAME}"))
    assert caught.value.exit_code == EXIT_MISSING
    assert "HF_HOME" in caught.value.fix
    assert "local-dir:PATH" in caught.value.fix
