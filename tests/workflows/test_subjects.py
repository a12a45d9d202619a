"""Files without a recipe: what is taken from the file, what from its user, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import nfexport
from nfexport import NamedModel
from nfexport.errors import OnnxFileError, RecipeError
from nfexport.sources import ModelSpec, load

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nfexport.workflows.keywords import ExportKeywords

SIZE = 96
Shape = Sequence[str | int]


def export(path: Path, **options: Unpack[ExportKeywords]) -> Path:
    """Write test_nfnet without its recipe."""
    keywords: ExportKeywords = {"fold_ws": True, "image_size": SIZE, **options}
    nfexport.export("test_nfnet", path, verify=False, **keywords)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def verify(path: Path, **named: Any) -> nfexport.VerifyResult:
    return nfexport.verify(path, named=NamedModel(**{"name": "test_nfnet", **named}))


def test_names_batch_size_and_classes_come_from_the_file(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", batch=2, num_classes=7, input_name="picture", output_name="scores")
    result = verify(path)
    assert result.passed, result.report.summary()
    assert result.image_size == (SIZE, SIZE)
    assert {case.batch for case in result.report.cases} == {2}
    assert {case.output for case in result.report.cases} == {"scores"}


def test_weights_come_from_a_checkpoint(tmp_path: Path) -> None:
    module = load(ModelSpec(name="test_nfnet", seed=5)).module
    torch.save(module.state_dict(), tmp_path / "w.pth")
    path = export(tmp_path / "m.onnx", checkpoint=tmp_path / "w.pth")
    assert verify(path, checkpoint=tmp_path / "w.pth").passed
    assert verify(path, weights_seed=5).passed
    assert not verify(path).passed


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"normalize": "nodes"}, {"normalize": True}, marks=pytest.mark.slow),
        (
            {"normalize": "fold", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)},
            {"normalize": True, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)},
        ),
        pytest.param(
            {"normalize": "fold", "input_range": 255}, {"normalize": True, "input_range": 255}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"normalize": "fold", "channels": "bgr"}, {"normalize": True, "channels": "bgr"}, marks=pytest.mark.slow
        ),
        ({"normalize": "nodes", "input_dtype": "uint8", "input_layout": "nhwc"}, {"normalize": True}),
    ],
)
def test_what_stands_in_front_is_named_as_at_export(
    options: ExportKeywords, named: dict[str, Any], tmp_path: Path
) -> None:
    """And naming nothing fails: the file computes something else."""
    path = export(tmp_path / "m.onnx", **options)
    result = verify(path, **named)
    assert result.passed, result.report.summary()
    assert not verify(path).passed


def test_the_logits_are_found_among_several_outputs(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", outputs=("probs", "logits", "embedding"))
    result = verify(path)
    assert result.passed, result.report.summary()
    assert {case.output for case in result.report.cases} == {"logits"}


def file(path: Path, *, inputs: dict[str, Shape], outputs: dict[str, Shape], dtype: int = TensorProto.FLOAT) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", [next(iter(inputs))], [name]) for name in outputs],
        "g",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            {"a": [1, 3, 96, 96], "b": [1]},
            r"has the inputs a float32 \[1, 3, 96, 96\], b float32 \[1\], but a timm model takes one",
        ),
        (
            {"a": [1, 5]},
            r"has the inputs a float32 \[1, 5\], but a timm model takes one image; .*golden check",
        ),
        ({"a": [1, 1, 96, 96]}, "takes images with 1 channels, but test_nfnet takes 3; name the model"),
    ],
)
def test_what_is_no_picture_of_the_model_is_refused(inputs: dict[str, Shape], words: str, tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", inputs=inputs, outputs={"y": [1, 1000]})
    with pytest.raises(OnnxFileError, match=words):
        verify(path)


def test_logits_that_cannot_be_told_are_refused(tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", inputs={"x": ["n", 3, 96, 96]}, outputs={"y": ["n", 1000], "z": ["n", 1000]})
    with pytest.raises(OnnxFileError, match=r"of the outputs y, z of .*, 2 may be the logits of 1000 classes; keep"):
        verify(path)


def test_contradictions_are_refused(tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", inputs={"x": ["n", 3, 96, 96]}, outputs={"y": ["n", 1000]})
    with pytest.raises(RecipeError, match="--checkpoint and --pretrained both name weights"):
        verify(path, checkpoint=tmp_path / "w.pth", pretrained=True)
    with pytest.raises(RecipeError, match="--mean and --std have 1 numbers for 3 channels"):
        verify(path, mean=(0.5,), std=(0.5,))
    with pytest.raises(RecipeError, match=r"cannot be test_vit: test_vit does not accept .*; name the model"):
        verify(
            file(tmp_path / "odd.onnx", inputs={"x": ["n", 3, 30, 30]}, outputs={"y": ["n", 1000]}), name="test_vit"
        )
