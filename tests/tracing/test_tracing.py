"""Exporters: names by module, shared weights, and reasons in one sentence."""

from __future__ import annotations

import pytest
import torch

from nfexport.errors import ExportError
from nfexport.models import ModelSpec, load
from nfexport.tracing import TraceRequest, order_of_exporters, trace
from nfexport.tracing.weights import scope_of

REQUEST = TraceRequest(
    batch="dynamic", in_channels=3, image_size=(64, 64), opset=11, input_name="input", output_names=("output",)
)


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    return load(ModelSpec(name="test_nfnet")).module


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("", ""),
        ("stem.conv1", "/stem/conv1"),
        ("stages.0.1.conv2", "/stages.0.1/conv2"),
        ("stages.0.blocks.1.conv2", "/stages.0/blocks.1/conv2"),
        ("blocks.11.attn.qkv", "/blocks.11/attn/qkv"),
    ],
)
def test_scopes(path: str, scope: str) -> None:
    assert scope_of(path) == scope


def test_auto_takes_torchscript_up_to_17_and_dynamo_after() -> None:
    assert order_of_exporters(17, "auto") == ("torchscript", "dynamo")
    assert order_of_exporters(18, "auto") == ("dynamo",)
    assert order_of_exporters(18, "torchscript") == ("torchscript",)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_graphs_weights_are_the_modules_own_memory(module: torch.nn.Module, exporter: str) -> None:
    model = trace(module, REQUEST, exporter)  # type: ignore[arg-type]
    weight = module.get_parameter("stem.conv1.weight")
    tensor = model.graph.initializers["stem.conv1.weight"].const_value
    assert tensor is not None
    assert tensor.numpy().ctypes.data == weight.data_ptr()
    assert {name for name, _ in module.named_parameters()} <= set(model.graph.initializers)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_both_exporters_name_nodes_by_module(module: torch.nn.Module, exporter: str) -> None:
    scopes = {(node.name or "").rsplit("/", 1)[0] for node in trace(module, REQUEST, exporter).graph}  # type: ignore[arg-type]
    assert {"/stem/conv1", "/stages.0.0/conv2b", "/head/fc"} <= scopes


def test_parameters_of_equal_content_keep_their_own_names() -> None:
    """TorchScript writes one of them and makes the others copies of it."""

    class Twins(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)
            self.b.load_state_dict(self.a.state_dict())
            self.tied = self.a

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.tied(self.b(self.a(x)))
            return y

    graph = trace(Twins().eval(), REQUEST, "torchscript").graph
    # two tensors of equal content stay two; one tensor under two names is stored once
    assert set(graph.initializers) == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert [node.op_type for node in graph] == ["Conv"] * 3


def test_what_an_exporter_cannot_express_is_one_short_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Bessel(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    with pytest.raises(ExportError) as caught:
        trace(Bessel(), REQUEST, "torchscript")
    assert caught.value.problem.startswith("torchscript: ")
    assert "bessel_j0" in caught.value.problem
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 300
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
