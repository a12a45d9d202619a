"""What a checkpoint says of itself: what is read, what is said of contradictions, and what is refused."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from nfexport import sources
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, CheckpointError, RecipeError
from nfexport.sources import LoadedModel, ModelSpec, checkpoint_files, load, timm_names
from nfexport.sources.model.file_name import default_file_name
from tests.sources.training import arguments

ARCHITECTURE = "test_nfnet"


@pytest.fixture(scope="module")
def four() -> LoadedModel:
    """test_nfnet with four channels and seven classes."""
    return load(ModelSpec(name=ARCHITECTURE, seed=7, num_classes=7, in_chans=4))


def written(path: Path, model: LoadedModel, **content: Any) -> Path:
    torch.save({"state_dict": model.module.state_dict(), **content}, path)
    return path


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "runs/last.ckpt", "x.pth", "X.PT", "~/a.safetensors", "b.bin", r"C:\x.pth"]
)
def test_a_checkpoint_is_known_by_its_suffix(name: str) -> None:
    assert sources.resolve(name) is checkpoint_files


@pytest.mark.parametrize("name", ["x.pt2", "x.onnx", "nfnet_l0.ra2_in1k", "pth"])
def test_what_has_another_suffix_is_none(name: str) -> None:
    assert not checkpoint_files.matches(name)
    assert not checkpoint_files.matches(f"toy:{name}.pth")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("nfnet_f0", "nfnet_f0.onnx"),
        ("nfnet_l0.ra2_in1k", "nfnet_l0.ra2_in1k.onnx"),
        ("runs/model_best.pth.tar", "model_best.onnx"),
        (r"C:\runs\last.ckpt", "last.onnx"),
        ("v1.2.safetensors", "v1.2.onnx"),
        ("hf-hub:org/name@main", "name.onnx"),
        ("timm/test_nfnet.r160_in1k", "test_nfnet.r160_in1k.onnx"),
        ("local-dir:a/b/", "b.onnx"),
        ("local-dir:b", "b.onnx"),
    ],
)
def test_the_name_of_the_exported_file(model: str, name: str) -> None:
    assert default_file_name(model) == name


def test_arguments_of_the_training_script(four: LoadedModel, tmp_path: Path) -> None:
    args = arguments(
        model="test_nfnet.r160_in1k",
        num_classes=7,
        in_chans=4,
        img_size=96,
        mean=[0.1, 0.2, 0.3, 0.4],
        std=[0.5],
        interpolation="bilinear",
        crop_pct=np.float32(0.5),
        output=pathlib.Path("runs"),
        metric=np.float64(3.5),
    )
    path = written(tmp_path / "c.pth.tar", four, arch="test_nfnet.r160_in1k", args=args, epoch=3, version=2)
    loaded = load(ModelSpec(name=str(path)))
    assert loaded.weights.kind == "checkpoint"
    assert loaded.weights.digest == four.weights.digest
    assert (loaded.num_classes, loaded.in_channels, loaded.image_size, loaded.labels) == (7, 4, (96, 96), None)
    pre = loaded.preprocessing
    assert (pre.mean, pre.std) == ((0.1, 0.2, 0.3, 0.4), (0.5,) * 4)
    assert (pre.crop_pct, pre.interpolation, pre.crop_mode) == (0.5, "bilinear", "center")
    assert loaded.resolved == {
        "model": "test_nfnet.r160_in1k",
        "num_classes": 7,
        "in_chans": 4,
        "image_size": (96, 96),
    }


def test_input_size_and_statistics_in_bytes(four: LoadedModel, tmp_path: Path) -> None:
    args = {"input_size": [4, 64, 96], "mean": [127.5] * 4, "std": [51.0] * 4, "class_map": {"a": 1, "b": 0}}
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, args={**args, "class_map": ""})
    loaded = load(ModelSpec(name=str(path)))
    assert loaded.image_size == (64, 96)
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.5,) * 4, (0.2,) * 4)


@pytest.mark.parametrize(
    "said",
    [
        {"class_map": {name: index for index, name in enumerate("abcdefg")}},
        {"label_names": list("abcdefg")},
        {"class_names": dict(enumerate("abcdefg"))},
    ],
)
def test_names_of_classes(four: LoadedModel, tmp_path: Path, said: dict[str, Any]) -> None:
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, args=argparse.Namespace(**said))
    assert load(ModelSpec(name=str(path))).labels == tuple("abcdefg")


def test_numbers_that_are_not_said_follow_from_the_tensors(four: LoadedModel, tmp_path: Path) -> None:
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE)
    loaded = load(ModelSpec(name=str(path)))
    assert (loaded.num_classes, loaded.in_channels) == (7, 4)
    assert loaded.weights.digest == four.weights.digest
    assert loaded.notes[1:3] == (
        "7 classes: from the shapes of the checkpoint's tensors",
        "4 channels: from the shapes of the checkpoint's tensors",
    )


@pytest.mark.parametrize("prefix", ["model.", "net.backbone.", "_orig_mod.module."])
def test_lightning_saves_under_a_prefix(four: LoadedModel, tmp_path: Path, prefix: str) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in four.module.state_dict().items()}
    content = {
        "state_dict": {**state, "criterion.weight": torch.ones(7)} if prefix == "model." else state,
        "hyper_parameters": {"model_name": ARCHITECTURE, "num_classes": 7, "lr": 1e-3},
        "pytorch-lightning_version": "2.4.0",
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    }
    torch.save(content, tmp_path / "last.ckpt")
    loaded = load(ModelSpec(name=str(tmp_path / "last.ckpt")))
    assert loaded.weights.digest == four.weights.digest
    under = f"the weights are those under '{prefix}' in the checkpoint"
    assert (under in loaded.notes) == (not prefix.startswith("_orig_mod"))


def test_lightnings_averaged_weights_are_under_a_prefix_too(four: LoadedModel, tmp_path: Path) -> None:
    other = load(ModelSpec(name=ARCHITECTURE, seed=8, num_classes=7, in_chans=4))
    state = {f"model.{name}": tensor for name, tensor in four.module.state_dict().items()}
    state |= {f"ema_model.module.{name}": tensor for name, tensor in other.module.state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"arch": ARCHITECTURE}}, path)
    for ema, model in ((None, other), (True, other), (False, four)):
        loaded = load(ModelSpec(name=str(path), ema=ema))
        assert loaded.weights.digest == model.weights.digest
    assert load(ModelSpec(name=str(path))).resolved["ema"] is True
    students = {name.replace("ema_model.module.", "student."): tensor for name, tensor in state.items()}
    torch.save({"state_dict": students, "hyper_parameters": {"arch": ARCHITECTURE}}, path)
    with pytest.raises(CheckpointError, match=r"holds several networks \('model.', 'student.'\)"):
        load(ModelSpec(name=str(path)))


def test_the_header_of_safetensors(four: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    header = {
        "architecture": ARCHITECTURE,
        "num_classes": "7",
        "in_chans": "4",
        "mean": "0.1,0.2,0.3,0.4",
        "std": "[0.5, 0.5, 0.5, 0.5]",
        "crop_pct": "0.75",
        "interpolation": "bilinear",
        "format": "pt",
    }
    safetensors.torch.save_file(four.module.state_dict(), path, metadata=header)
    loaded = load(ModelSpec(name=str(path)))
    assert loaded.weights.digest == four.weights.digest
    pre = loaded.preprocessing
    assert (pre.mean, pre.std, pre.crop_pct) == ((0.1, 0.2, 0.3, 0.4), (0.5,) * 4, 0.75)


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_or_raw_weights(four: LoadedModel, tmp_path: Path, key: str) -> None:
    other = load(ModelSpec(name=ARCHITECTURE, seed=8, num_classes=7, in_chans=4))
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, **{key: other.module.state_dict()})
    for ema, model in ((None, other), (True, other), (False, four)):
        for spec in (ModelSpec(name=str(path), ema=ema), ModelSpec(name=ARCHITECTURE, checkpoint=path, ema=ema)):
            loaded = load(spec)
            assert loaded.weights.digest == model.weights.digest
            assert any(note.startswith(f"the {'raw' if ema is False else 'averaged'}") for note in loaded.notes)
    with pytest.raises(CheckpointError, match="holds no averaged weights; leave --ema out"):
        load(ModelSpec(name=str(written(path, four, arch=ARCHITECTURE)), ema=True))


def test_what_the_user_says_wins_and_is_told(four: LoadedModel, tmp_path: Path) -> None:
    args = arguments(num_classes=9, in_chans=4, img_size=96, gp="avg")
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, args=args)
    with pytest.raises(CheckpointError) as caught:
        load(ModelSpec(name=str(path)))
    assert caught.value.fix == "pass --num-classes 7"
    loaded = load(ModelSpec(name=str(path), num_classes=7, image_size=64, model_kwargs={"global_pool": "max"}))
    assert loaded.notes[1:4] == (
        "--num-classes 7 replaces the 9 classes that the checkpoint says",
        "the image size 64×64 replaces the 96×96 that the checkpoint says",
        "--model-kwargs global_pool=max replaces the avg that the checkpoint says",
    )
    with pytest.raises(CheckpointError) as caught:
        load(ModelSpec(name=str(path), num_classes=7, in_chans=3))
    assert caught.value.fix == "pass --in-chans 4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"does not say its architecture; name it: nfexport ARCHITECTURE --checkpoint .*c\.pth"),
        ({"arch": "normfreenet"}, "says that its architecture is 'normfreenet', which timm does not have"),
        ({"arch": ARCHITECTURE, "args": {"num_classes": "many"}}, "says that num_classes is 'many'"),
        ({"arch": ARCHITECTURE, "args": {"num_classes": -1}}, "says that num_classes is '-1'"),
        ({"arch": ARCHITECTURE, "args": {"in_chans": 0}}, "says that in_chans is '0'"),
        ({"arch": ARCHITECTURE, "args": {"mean": [float("nan")]}}, "says that mean is .*no list of numbers"),
        ({"arch": ARCHITECTURE, "args": {"std": [0.0]}}, "standard deviation must be above 0"),
        ({"arch": ARCHITECTURE, "args": {"mean": [0.4], "std": [51.0]}}, "are not in one unit"),
        ({"arch": ARCHITECTURE, "args": {"crop_pct": 1.5}}, "says that crop_pct is '1.5'"),
        ({"arch": ARCHITECTURE, "args": {"img_size": [1, 2, 3]}}, "says that img_size is"),
        ({"arch": ARCHITECTURE, "args": {"input_size": [4, 0, 2]}}, "says that input_size is"),
        ({"arch": ARCHITECTURE, "args": {"model_kwargs": {"a": {"b": 1}}}}, "says that model_kwargs a is"),
        ({"arch": ARCHITECTURE, "args": {"model_kwargs": {"xyzzy": 1}}}, "test_nfnet has no argument 'xyzzy'"),
        ({"arch": ARCHITECTURE, "args": {"label_names": list("abc")}}, "has 3 labels for 7 classes"),
        ({"arch": ARCHITECTURE, "args": {"label_names": ["\x1b[31m"] * 7}}, "control characters or markup"),
        ({"arch": "nf_regnet_b0"}, "does not fit the model.*pass the architecture"),
    ],
)
def test_what_a_checkpoint_cannot_mean(
    four: LoadedModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: dict[str, Any],
    message: str,
) -> None:
    import re

    path = written(tmp_path / "c.pth", four, **content)
    assert run([str(path), "-o", str(tmp_path / "m.onnx")]) == EXIT_INPUT
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["c.pth"]


def test_another_architecture_than_the_checkpoints_is_refused(four: LoadedModel, tmp_path: Path) -> None:
    path = written(tmp_path / "c.pth", four, arch="test_nfnet.r160_in1k")
    with pytest.raises(CheckpointError, match="says that it is a checkpoint of test_nfnet, not of nf_regnet_b0"):
        load(ModelSpec(name="nf_regnet_b0", checkpoint=path))
    # the tag that it was trained from is that of the configuration, whatever the user names
    assert load(ModelSpec(name=ARCHITECTURE, checkpoint=path)).resolved["model"] == "test_nfnet.r160_in1k"
    unknown = written(tmp_path / "e.pth", four, arch="test_nfnet.mine")
    assert load(ModelSpec(name=str(unknown))).resolved["model"] == ARCHITECTURE
    # the name of a class, as timm's saver writes without arguments, says nothing
    unnamed = written(tmp_path / "d.pth", four, arch="normfreenet")
    assert load(ModelSpec(name=ARCHITECTURE, checkpoint=unnamed)).weights.digest == four.weights.digest


def test_a_checkpoint_has_weights_itself(four: LoadedModel, tmp_path: Path) -> None:
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE)
    for options in ({"checkpoint": path}, {"pretrained": True}):
        with pytest.raises(RecipeError, match="is a checkpoint, and has weights itself"):
            load(ModelSpec(name=str(path), **options))
    with pytest.raises(CheckpointError, match="there is no file"):
        load(ModelSpec(name=str(tmp_path / "none.pth")))


def test_a_checkpoint_without_its_classifier_says_how_to_export_it(tmp_path: Path) -> None:
    state = load(ModelSpec(name=ARCHITECTURE, num_classes=0)).module.state_dict()
    torch.save({"state_dict": state, "arch": ARCHITECTURE}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="pass --num-classes 0"):
        load(ModelSpec(name=str(tmp_path / "c.pth")))
    assert load(ModelSpec(name=str(tmp_path / "c.pth"), num_classes=0)).num_classes == 0


class Attack:
    """Pickles into a call of os.mkdir."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


class Provoking:
    """Pickles into a call that ends in a TypeError, upon which timm 1.0.9 to 1.0.20 read the file without limits."""

    def __reduce__(self) -> tuple[Any, ...]:
        return collections.OrderedDict, (1, 2, 3)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("where", ["args", "metric", "model_kwargs"])
def test_no_file_lifts_the_restrictions_on_pickles(
    four: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, forced: bool
) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    target = tmp_path / "owned"
    contents: dict[str, dict[str, Any]] = {
        "args": {"args": argparse.Namespace(model=ARCHITECTURE, extra=Attack(target))},
        "metric": {"metric": Provoking(), "args": Attack(target)},
        "model_kwargs": {"args": {"model_kwargs": {"a": Attack(target)}}},
    }
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, **contents[where])
    for spec in (ModelSpec(name=str(path)), ModelSpec(name=ARCHITECTURE, checkpoint=path)):
        with pytest.raises(CheckpointError):
            load(spec)
    assert not target.exists()
    assert os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") == ("1" if forced else None)
    # the same file does it where nothing restrains it
    with pytest.raises((FileExistsError, TypeError)) if where == "metric" else _nothing():
        torch.load(path, weights_only=False)
    assert target.exists() or where == "metric"


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


class Config(dict):  # type: ignore[type-arg]
    """A container of another package, as omegaconf has them."""


def test_a_container_of_another_package_is_named(four: LoadedModel, tmp_path: Path) -> None:
    path = written(tmp_path / "c.pth", four, arch=ARCHITECTURE, args=Config(num_classes=7))
    with pytest.raises(CheckpointError, match=r"which was not run \('.*test_checkpoint_files.Config'\)"):
        load(ModelSpec(name=str(path)))
    (tmp_path / "d.pth").write_bytes(pickle.dumps(Config(num_classes=7)))
    with pytest.raises(CheckpointError, match=r"which was not run \('.*test_checkpoint_files.Config'\)"):
        load(ModelSpec(name=str(tmp_path / "d.pth")))


def test_names_of_timm_are_still_timms() -> None:
    assert sources.resolve("nfnet_f0") is timm_names
