"""fold-ws on files of other exporters: all convolutions folded, and the numbers those of the file as it was."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper

import nfexport
from nfexport.passes.folds.fold_ws import computed_weights
from tests.workflows.foreign import SPELLINGS, Standardised, by_dynamo, by_torchscript


def folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the outcome of surgery, which has compared it with its source."""
    result = nfexport.surgery(proto, fold_ws=True)
    assert result.verification is not None
    assert result.verification.passed
    entry = next(entry for entry in result.ledger if entry.name == "fold-ws")
    assert entry.left_alone == {}
    assert isinstance(result.model, onnx.ModelProto)
    assert computed_weights(ir.from_proto(result.model)) == 0
    return result.model


def operators(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


TORCHSCRIPT = [
    (spelling, opset)
    for spelling in SPELLINGS
    for opset in (9, 11, 13, 14, 17)
    # torch takes layer_norm apart with operators of opset 11
    if spelling != "layer_norm" or opset >= 11
]


@pytest.mark.parametrize(("spelling", "opset"), TORCHSCRIPT)
def test_torchscript_exports(spelling: str, opset: int) -> None:
    proto = by_torchscript(Standardised(spelling), opset)
    assert computed_weights(ir.from_proto(proto)) == 5, "the export no longer computes its weights"
    assert operators(folded(proto)) == {"Conv", "ConvTranspose", "Relu"}


@pytest.mark.parametrize(
    "spelling", [name if name == "std_mean" else pytest.param(name, marks=pytest.mark.slow) for name in SPELLINGS]
)
def test_dynamo_exports(spelling: str) -> None:
    assert operators(folded(by_dynamo(Standardised(spelling)))) == {"Conv", "ConvTranspose", "Relu"}


def test_half_folded_and_unfolded_exports() -> None:
    for folding in (False, True):
        proto = by_torchscript(Standardised("batch_norm"), 13, folding=folding)
        assert operators(folded(proto)) == {"Conv", "ConvTranspose", "Relu"}


def test_weights_that_are_inputs_too_leave_no_required_input() -> None:
    proto = by_torchscript(Standardised("batch_norm"), 11, weights_as_inputs=True)
    assert len(proto.graph.input) > 1
    outcome = folded(proto)
    stored = {tensor.name for tensor in outcome.graph.initializer}
    assert [value.name for value in outcome.graph.input if value.name not in stored] == ["x"]


def test_weights_in_external_data(tmp_path: Path) -> None:
    proto = by_torchscript(Standardised("std_mean"), 13)
    path = tmp_path / "theirs.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="theirs.data", size_threshold=0)
    result = nfexport.surgery(path, tmp_path / "ours.onnx", fold_ws=True)
    assert result.facts is not None
    assert result.facts.computed_conv_weights == 0
    assert result.facts.external_data == ()


def test_a_weight_behind_cast_transpose_and_identity() -> None:
    class Behind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(
                torch.randn(3, 3, 3, 8, generator=torch.Generator().manual_seed(1)).half()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.weight.float().permute(3, 0, 1, 2)
            return torch.nn.functional.conv2d(x, weight - weight.mean((1, 2, 3), keepdim=True), padding=1)

    assert operators(folded(by_torchscript(Behind(), 13, folding=False))) == {"Conv"}


def test_a_normalisation_of_activations_is_left_alone() -> None:
    """It has the form of weight standardisation, but what it normalises is no constant."""

    normal = torch.Generator().manual_seed(2)
    arrays = {
        "w": torch.randn(4, 3, 3, 3, generator=normal),
        "scale": torch.rand(4, generator=normal) + 0.5,
        "bias": torch.randn(4, generator=normal),
        "mean": torch.zeros(4),
        "var": torch.ones(4),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node(
                "BatchNormalization",
                ["c", "scale", "bias", "mean", "var"],
                ["y", "new_mean", "new_var"],
                name="norm",
                training_mode=1,
            ),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [onnx.numpy_helper.from_array(array.numpy(), name) for name, array in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    result = nfexport.surgery(proto, fold_ws=True, fold_bn=True, verify=False)
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "BatchNormalization"]
    (entry,) = [entry for entry in result.ledger if entry.name == "fold-bn"]
    assert list(entry.left_alone) == ["norm"]


def test_a_weight_that_is_no_constant_is_left_alone_and_named() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["w"], ["m"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Sub", ["w", "m"], ["c"]),
            helper.make_node("Conv", ["x", "c"], ["y"], name="the_conv"),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 6, 6])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    result = nfexport.surgery(proto, fold_ws=True)
    (entry,) = [entry for entry in result.ledger if entry.name == "fold-ws"]
    assert list(entry.left_alone) == ["the_conv"]
    assert "not constant" in entry.left_alone["the_conv"]


def test_a_convolution_inside_if_is_left_alone_and_named() -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["w", "s"], ["scaled"]),
            helper.make_node("Conv", ["x", "scaled"], ["inner"], name="inner_conv"),
        ],
        "then",
        [],
        [value("inner", TensorProto.FLOAT, ["batch", 4, 6, 6])],
    )
    other = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["outer"])],
        "else",
        [],
        [value("outer", TensorProto.FLOAT, ["batch", 4, 6, 6])],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], name="choice", then_branch=body, else_branch=other)],
        "g",
        [value("x", TensorProto.FLOAT, ["batch", 3, 8, 8]), value("flag", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [
            onnx.numpy_helper.from_array(torch.randn(4, 3, 3, 3).numpy(), "w"),
            onnx.numpy_helper.from_array(torch.tensor([2.0]).numpy(), "s"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    result = nfexport.surgery(proto, fold_ws=True)
    (entry,) = [entry for entry in result.ledger if entry.name == "fold-ws"]
    assert entry.left_alone == {"inner_conv": "it is inside the body of an If or Loop"}


def test_a_quantised_weight_is_left_alone_and_named() -> None:
    value, tensor = helper.make_tensor_value_info, onnx.numpy_helper.from_array
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], name="dequantize"),
            helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        ],
        "g",
        [value("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [value("y", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [
            tensor(torch.arange(-54, 54).reshape(4, 3, 3, 3).to(torch.int8).numpy(), "q"),
            tensor(torch.tensor(0.01).numpy(), "scale"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    result = nfexport.surgery(proto, fold_ws=True)
    (entry,) = [entry for entry in result.ledger if entry.name == "fold-ws"]
    assert "dequantize" in entry.left_alone["conv"]
    assert "holds it quantised" in entry.left_alone["conv"]
