"""What an export decides where the user does not: the opset, and what the file returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import nfexport
from nfexport.errors import ExportError, RecipeError
from nfexport.sources.timm.torchvision_operators import import_timm


class Folding(torch.nn.Module):
    """Overlapping windows, summed up again by F.fold: ONNX has Col2Im for it, from opset 18 on."""

    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = torch.nn.functional.unfold(x, 3, padding=1)
        return self.classifier(torch.nn.functional.fold(windows, x.shape[-2:], 3, padding=1))  # type: ignore[no-any-return]


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm's test_resnet end in a layer that needs opset 18."""
    timm = import_timm()
    create = timm.create_model

    def with_fold(*args: Any, **kwargs: Any) -> torch.nn.Module:
        model: Any = create(*args, **kwargs)
        model.global_pool = Folding(model.global_pool)
        return model  # type: ignore[no-any-return]

    monkeypatch.setattr(timm, "create_model", with_fold)


@pytest.mark.slow
@pytest.mark.usefixtures("folding")
def test_an_operator_raises_the_default_opset(tmp_path: Path) -> None:
    result = nfexport.export("test_resnet", tmp_path / "m.onnx", image_size=64)
    assert result.recipe.opset == 18
    assert result.recipe.options.opset is None
    assert result.notes == ("opset 18 instead of 17, which has no Col2Im",)
    assert result.verification is not None
    assert result.verification.passed
    assert nfexport.rebuild(result.path, verify=False).reproduced


@pytest.mark.slow
@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("opset", [11, 17])
def test_an_opset_that_is_named_stays(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        nfexport.export("test_resnet", tmp_path / "m.onnx", image_size=64, opset=opset)
    assert caught.value.fix == "pass --opset 18, the first at which Col2Im works"
    assert f"cannot be exported at opset {opset}" in caught.value.problem
    assert not list(tmp_path.iterdir())


def test_the_default_opset_by_name_writes_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for file, options in zip(files, ({}, {"opset": 17, "outputs": ("logits",)}), strict=True):
        nfexport.export("test_vit", file, image_size=32, verify=False, **options)  # type: ignore[arg-type]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_images_of_any_size_raise_the_default_opset(tmp_path: Path) -> None:
    result = nfexport.export("test_resnet", tmp_path / "m.onnx", image_size=64, resize="any", verify=False)
    assert result.recipe.opset == 18
    assert result.notes == ("opset 18 instead of 17, as the options need it",)


def test_without_a_classifier_the_file_returns_the_embedding(tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", image_size=64, num_classes=0)
    assert [(output.kind, output.name) for output in result.recipe.outputs] == [("embedding", "embedding")]
    assert result.recipe.options.outputs == ()
    assert result.notes == ("the file returns the embedding, as test_nfnet has no classifier",)
    assert result.to_dict()["notes"] == list(result.notes)
    assert result.verification is not None
    assert result.verification.passed
    with pytest.raises(RecipeError, match="test_nfnet has no classifier"):
        nfexport.export("test_nfnet", tmp_path / "n.onnx", image_size=64, num_classes=0, outputs=("logits",))


def test_a_probability_for_each_label_is_verified(tmp_path: Path) -> None:
    result = nfexport.export("test_vit", tmp_path / "m.onnx", image_size=32, outputs=("sigmoid",))
    assert result.verification is not None
    assert result.verification.passed


@pytest.mark.slow
def test_a_surgery_adds_a_probability_for_each_label(tmp_path: Path) -> None:
    plain = nfexport.export("test_vit", tmp_path / "b.onnx", image_size=32, verify=False)
    added = nfexport.surgery(plain.path, tmp_path / "c.onnx", outputs=("sigmoid", "logits"))
    assert added.facts is not None
    assert [output.name for output in added.facts.outputs] == ["output", "sigmoid"]
    assert added.facts.recipe is not None
    assert [output.kind for output in added.facts.recipe.outputs] == ["logits", "sigmoid"]
    assert nfexport.verify(tmp_path / "c.onnx").passed
