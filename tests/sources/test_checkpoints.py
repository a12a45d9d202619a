"""Checkpoints as people have them, and what is said of those that cannot be used."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from nfexport.errors import CheckpointError, RecipeError
from nfexport.sources import LoadedModel, ModelSpec, load
from nfexport.sources.timm import checkpoint_reader
from nfexport.sources.timm.checkpoint_reader import Checkpoint

NAME = "test_nfnet"


@pytest.fixture(scope="module")
def source() -> LoadedModel:
    return load(ModelSpec(name=NAME, seed=7))


def load_file(path: Path, **options: Any) -> LoadedModel:
    return load(ModelSpec(name=NAME, checkpoint=path, **options))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"state_dict": {}, "state_dict_ema": state},
        lambda state: {"model": {}, "model_ema": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.module.{n}": t for n, t in state.items()}},
        collections.OrderedDict,
    ],
    ids=["bare", "state_dict", "model", "ema", "model_ema", "DDP", "compiled DDP", "ordered"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pickled_checkpoints_in_every_wrapper(source: LoadedModel, tmp_path: Path, wrap: Any, suffix: str) -> None:
    path = tmp_path / f"c{suffix}"
    torch.save(wrap(source.module.state_dict()), path)
    loaded = load_file(path)
    assert loaded.weights.digest == source.weights.digest
    assert loaded.weights.kind == "checkpoint"


def test_safetensors(source: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file(source.module.state_dict(), path)
    assert load_file(path).weights.digest == source.weights.digest


def loaded_and_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LoadedModel, dict[str, torch.Tensor]]:
    states: list[dict[str, torch.Tensor]] = []
    read = checkpoint_reader.read_checkpoint

    def watched(path: Path, **options: Any) -> Checkpoint:
        found = read(path, **options)
        states.append(dict(found.state))
        return found

    monkeypatch.setattr("nfexport.sources.timm.from_checkpoint.read_checkpoint", watched)
    return load_file(path), states[0]


def test_weights_of_safetensors_stay_in_the_mapped_file(
    source: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file(source.module.state_dict(), path)
    loaded, state = loaded_and_state(path, monkeypatch)
    parameters = dict(loaded.module.named_parameters())
    assert all(parameter.data_ptr() == state[name].data_ptr() for name, parameter in parameters.items())
    assert all(parameter.requires_grad for parameter in parameters.values())


def test_parameters_on_one_memory_in_the_file_are_still_two(
    source: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pickled checkpoints keep tensors shared; as weights of an ONNX file they are two, under two names."""
    state = dict(source.module.state_dict())
    first, second = "stages.0.0.conv2.weight", "stages.0.0.conv2b.weight"
    assert state[first].shape == state[second].shape
    state[second] = state[first]
    torch.save(state, tmp_path / "c.pth")
    loaded, read = loaded_and_state(tmp_path / "c.pth", monkeypatch)
    assert read[first].data_ptr() == read[second].data_ptr()
    one, two = loaded.module.get_parameter(first), loaded.module.get_parameter(second)
    assert one.data_ptr() != two.data_ptr()
    assert torch.equal(one, two)
    assert torch.equal(one, state[first])


def test_position_embeddings_of_another_image_size_are_resampled(tmp_path: Path) -> None:
    trained = load(ModelSpec(name="test_vit"))
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file(trained.module.state_dict(), path)
    loaded = load(ModelSpec(name="test_vit", checkpoint=path, image_size=96)).module
    assert loaded.get_parameter("pos_embed").shape[1] == 6 * 6 + 1
    name = "blocks.0.attn.qkv.weight"
    assert torch.equal(loaded.get_parameter(name), trained.module.get_parameter(name))


def test_half_precision_becomes_float32(source: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file({n: t.half() for n, t in source.module.state_dict().items()}, path)
    module = load_file(path).module
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    name = "stem.conv1.weight"
    assert torch.equal(module.get_parameter(name), source.module.get_parameter(name).half().float())


class Attack:
    """Pickles into a call of os.mkdir."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(source: LoadedModel, tmp_path: Path, how: str) -> None:
    path, target = tmp_path / "c.pth", tmp_path / "owned"
    content = {"state_dict": source.module.state_dict(), "extra": Attack(str(target))}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Attack(str(target))))
    with pytest.raises(CheckpointError, match="pickle with code in it, which was not run"):
        load_file(path)
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(source: LoadedModel, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"c{suffix}"
    if suffix == ".pth":
        torch.save(source.module.state_dict(), path)
    else:
        safetensors.torch.save_file(source.module.state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is damaged, or not a checkpoint"):
        load_file(path)


def test_what_does_not_fit_is_named(source: LoadedModel, tmp_path: Path) -> None:
    state = dict(source.module.state_dict())
    state["stem.conv1.weight"] = state["stem.conv1.weight"][:, :, :2]
    state["stranger"] = torch.zeros(1)
    for name in [name for name in state if name.startswith("stages.0")]:
        del state[name]
    path = tmp_path / "c.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        load_file(path)
    problem = caught.value.problem
    assert "tensors are missing (stages.0.0." in problem
    assert "1 are unexpected (stranger)" in problem
    assert "1 have another shape (stem.conv1.weight" in problem


def test_another_number_of_classes_is_recognised(tmp_path: Path) -> None:
    ten = load(ModelSpec(name=NAME, num_classes=10))
    path = tmp_path / "c.pth"
    torch.save(ten.module.state_dict(), path)
    with pytest.raises(CheckpointError) as caught:
        load_file(path, num_classes=7)
    assert caught.value.fix == "pass --num-classes 10"
    for options in ({}, {"num_classes": 10}):
        loaded = load_file(path, **options)
        assert (loaded.num_classes, loaded.labels) == (10, None)
        assert loaded.weights.digest == ten.weights.digest
    assert load_file(path).notes == ("10 classes: from the shapes of the checkpoint's tensors",)
    assert load_file(path).resolved == {"model": NAME, "num_classes": 10}


def test_values_that_are_not_finite_are_refused(source: LoadedModel, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in source.module.state_dict().items()}
    state["head.fc.bias"][3] = float("nan")
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"not finite, in head\.fc\.bias"):
        load_file(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.pth", None, "there is no file"),
        ("c.onnx", b"x", "does not have the file name of a checkpoint"),
        ("c.pth", b"not a checkpoint", "damaged, or not a checkpoint"),
        ("c.safetensors", b"", "damaged, or not a checkpoint"),
        ("c.pth", b"", "damaged, or not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        load_file(path)
    assert str(path) in caught.value.problem


def test_a_folder_and_a_list_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        load_file(tmp_path)
    torch.save([torch.zeros(1)], tmp_path / "c.pth")
    with pytest.raises(CheckpointError):
        load_file(tmp_path / "c.pth")


def test_two_sources_of_weights_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="both name weights"):
        load_file(tmp_path / "c.pth", pretrained=True)
