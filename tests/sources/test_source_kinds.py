"""A source is found by its file or by an entry point, and its models are exported and verified like any other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

import nfexport
from nfexport import sources
from nfexport.errors import EXIT_INPUT, InputError, UnknownModelError
from nfexport.recipe.recipe import Preprocessing, Weights
from nfexport.sources import InputSpec, LoadedModel, ModelSpec, timm_names, torch_modules
from nfexport.sources.model import source_kinds
from nfexport.sources.model.digest import state_digest
from tests.conftest import Installing


class Toy(torch.nn.Module):
    """A network of two input channels and five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 5
        self.conv = torch.nn.Conv2d(2, 5, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.conv(x).relu().mean((2, 3))
        return logits


class ToySource:
    """Understands 'toy:SEED', and a Toy itself."""

    def matches(self, model: object, /) -> bool:
        return isinstance(model, Toy) or (isinstance(model, str) and model.startswith("toy:"))

    def load(self, spec: ModelSpec, /) -> LoadedModel:
        module = spec.instance
        if not isinstance(module, Toy):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(spec.name.removeprefix("toy:")))
                module = Toy()
        return LoadedModel(
            module=module.eval(),
            architecture=spec.name,
            weights=Weights(kind="seeded", digest=state_digest(module), seed=spec.seed),
            input=InputSpec(channels=2, height=16, width=24),
            num_classes=module.num_classes,
            preprocessing=Preprocessing(
                mean=(0.5, 0.5), std=(0.25, 0.25), crop_pct=1.0, crop_mode="center", interpolation="bilinear"
            ),
            labels=None,
            packages=("pytest",),
        )


toy = ToySource()
broken = object()


@pytest.fixture
def adding(installing: Installing) -> Installing:
    """Return a function that installs a package whose entry points have these names and values."""
    return partial(installing, source_kinds.GROUP)


def test_a_source_is_a_file_of_its_folder() -> None:
    assert "timm_names" in source_kinds.built_in()
    assert not {"model", "timm", "__init__"} & set(source_kinds.built_in())
    for name in source_kinds.built_in():
        assert callable(sources.find(name).matches)
        assert callable(sources.find(name).load)


@pytest.mark.parametrize("name", ["nfnet_f0", "nfnet_l0.ra2_in1k", "", "xyzzy"])
def test_a_name_without_a_colon_or_slash_is_timms(name: str) -> None:
    assert sources.resolve(name) is timm_names


@pytest.mark.parametrize("name", ["toy:1", "toy:weights-1.pth"])
def test_a_name_that_no_source_understands_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"is not a timm name; .*--checkpoint") as caught:
        sources.resolve(name)
    assert name in caught.value.problem
    assert caught.value.exit_code == EXIT_INPUT


def test_an_object_that_no_source_understands_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="no source takes a dict; pass the name of an architecture"):
        sources.resolve({})
    assert sources.resolve(Toy()) is torch_modules


def test_an_entry_point_adds_a_source(adding: Installing) -> None:
    adding(toy=f"{__name__}:toy")
    assert "toy" in sources.names()
    assert sources.resolve("toy:1") is toy
    assert sources.resolve(Toy()) is toy
    assert sources.resolve("nfnet_f0") is timm_names
    with pytest.raises(UnknownModelError, match="or 'toy:…' for the source toy"):
        sources.resolve("other:1")


def test_a_name_with_a_kind_imports_no_other_package(adding: Installing) -> None:
    adding(a_broken_one="nowhere:source", toy=f"{__name__}:toy")
    assert sources.resolve("toy:1") is toy
    with pytest.raises(InputError, match="'a_broken_one' of the package toys cannot be imported"):
        sources.resolve("other:1")


def test_a_source_without_a_function_is_refused(adding: Installing) -> None:
    adding(toy=f"{__name__}:broken")
    with pytest.raises(InputError, match=r"'toy' .* names a source without a function 'matches'"):
        sources.resolve("toy:1")


def test_no_package_replaces_a_source_of_nfexport(adding: Installing) -> None:
    adding(timm_names=f"{__name__}:toy")
    assert sources.find("timm_names") is timm_names
    with pytest.raises(UnknownModelError):
        sources.resolve("toy:1")


def test_there_is_no_source_of_another_name() -> None:
    with pytest.raises(InputError, match=r"there is no source 'toy'; use one of .*timm_names"):
        sources.find("toy")


def test_an_object_that_is_handed_over_is_loaded(adding: Installing) -> None:
    adding(toy=f"{__name__}:toy")
    module = Toy()
    assert sources.load(ModelSpec(name="mine", instance=module)).module is module


def test_a_model_of_another_packages_source_is_exported_and_verified(tmp_path: Path, adding: Installing) -> None:
    adding(toy=f"{__name__}:toy")
    result = nfexport.export("toy:3", tmp_path / "toy.onnx", opset=13)
    assert result.verification is not None
    assert result.verification.passed
    assert result.recipe.architecture == "toy:3"
    assert set(result.recipe.versions) == {"torch", "onnx", "nfexport", "pytest"}
    assert result.facts.inputs[0].shape == ("batch", 2, 16, 24)
    assert nfexport.verify(tmp_path / "toy.onnx").passed
    assert nfexport.rebuild(tmp_path / "toy.onnx").reproduced


def test_without_its_package_the_model_of_a_recipe_is_not_found(tmp_path: Path, adding: Installing) -> None:
    adding(toy=f"{__name__}:toy")
    nfexport.export("toy:3", tmp_path / "toy.onnx", verify=False)
    adding()
    with pytest.raises(UnknownModelError, match="'toy:3' is not a timm name"):
        nfexport.verify(tmp_path / "toy.onnx")
