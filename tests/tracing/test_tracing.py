"""Exporters: names by module, shared weights, and reasons in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import onnx_ir as ir
import onnxruntime
import pytest
import torch

from nfexport.errors import ExportError
from nfexport.passes.folds.fold_ws import FoldWeightStandardisation
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.standardised_layers import standardisations
from nfexport.sources.timm.torchvision_operators import import_timm
from nfexport.tracing import TraceRequest, order_of_exporters, torchscript, trace
from nfexport.tracing.request import image_input
from nfexport.tracing.shared_weights import scope_of

REQUEST = TraceRequest(
    inputs=(image_input("input", batch="dynamic", channels=3, image_size=(64, 64)),),
    opset=11,
    output_names=("output",),
    output_shapes={"output": ("batch",)},
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


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)])
def test_the_graphs_weights_are_the_modules_own_memory(module: torch.nn.Module, exporter: str) -> None:
    model = trace(module, REQUEST, exporter)  # type: ignore[arg-type]
    weight = module.get_parameter("stem.conv1.weight")
    tensor = model.graph.initializers["stem.conv1.weight"].const_value
    assert tensor is not None
    assert tensor.numpy().ctypes.data == weight.data_ptr()
    assert {name for name, _ in module.named_parameters()} <= set(model.graph.initializers)


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)])
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


def test_weights_stay_out_of_the_exporter(module: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporter is given has the shapes of the weights, on one number each."""
    seen: list[tuple[int, int]] = []
    export = torch.onnx.export

    def watched(given: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        seen.extend((p.numel(), p.untyped_storage().nbytes() // p.element_size()) for p in given.parameters())
        return export(given, *args, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", watched)
    before = {name: parameter.data_ptr() for name, parameter in module.named_parameters()}
    trace(module, dataclasses.replace(REQUEST, standardised=standardisations(module)), "torchscript")
    large = [(size, held) for size, held in seen if size > 4096]
    assert len(seen) == len(before)  # one export: the trace with stand-ins sufficed
    assert len(large) > 5
    assert {held for _, held in large} == {1}
    assert {name: parameter.data_ptr() for name, parameter in module.named_parameters()} == before
    assert not any("forward" in vars(layer) for layer in module.modules())


@pytest.mark.parametrize(("name", "size"), [("vit_tiny_r_s16_p8_224", 224), ("nf_ecaresnet26", 63)])
def test_a_trace_without_sums_gives_the_graph_of_one_with(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What timm's networks compute from sizes while they run ('SAME' padding, the check of a group norm, a flag of
    forward) needs no number of an image or a weight, and so no second trace."""
    net = load(ModelSpec(name=name)).module
    request = dataclasses.replace(
        REQUEST,
        inputs=(image_input("input", batch="dynamic", channels=3, image_size=(size, size)),),
        standardised=standardisations(net),
    )
    with_sums = torch.onnx.export
    exports = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        exports.append(args)
        return with_sums(*args, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", counted)
    without = trace(net, request, "torchscript")
    assert len(exports) == 1
    monkeypatch.setattr(torchscript, "shapes_alone", lambda module: contextlib.nullcontext())
    monkeypatch.setattr(torchscript, "standing_in", lambda module: contextlib.nullcontext())
    assert ir.to_proto(without) == ir.to_proto(trace(net, request, "torchscript"))


class AsksForNumbers(torch.nn.Module):
    """Its graph depends on the numbers of a large weight, which a trace takes for constants."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first = import_timm().layers.StdConv2d(3, 3, 3)
        self.conv = torch.nn.Conv2d(3, 2000, 1)
        self.cache: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(self.first(x))
        if self.how == "number":
            return y * float(self.conv.weight.abs().max())
        if self.how == "array":
            return y * torch.from_numpy(
                self.conv.weight.detach().numpy().max(axis=(1, 2, 3), keepdims=True)[None, :, :, :, 0]
            )
        self.cache = self.conv.weight.exp().mean()
        return y * self.cache


@pytest.mark.parametrize("how", ["number", "array", "cache"])
def test_a_module_whose_numbers_matter_is_traced_with_them(how: str) -> None:
    net = AsksForNumbers(how).eval()
    model = trace(net, dataclasses.replace(REQUEST, standardised=standardisations(net)), "torchscript")
    FoldWeightStandardisation().apply(model)
    image = torch.rand(2, 3, 64, 64)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (answer,) = session.run(None, {"input": image.numpy()})
    with torch.no_grad():
        expected = net(image).numpy()
    # float32 sums of three products; with stand-ins the answer would be zero or NaN
    assert abs(answer - expected).max() < 1e-5 * abs(expected).max()


def test_operators_below_the_ones_that_are_left_out_are_recorded() -> None:
    """Convolutions that a trace without sums would lose, and shapes of every kind of convolution that it keeps."""

    class Convolutions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = import_timm().layers.StdConv2d(3, 6, 3, stride=2, padding=1, dilation=2)
            self.same = torch.nn.Conv2d(6, 6, (5, 3), padding="same", groups=3)
            self.up = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1)
            self.line = torch.nn.Conv1d(4, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.line(self.up(self.same(self.down(x).relu_())).mean(3))
            return y @ y.transpose(1, 2)

    net = Convolutions().eval()
    model = trace(net, REQUEST, "torchscript")
    assert [node.op_type for node in model.graph if "Conv" in node.op_type] == [
        "Conv",
        "Conv",
        "ConvTranspose",
        "Conv",
    ]
    image = torch.rand(2, 3, 64, 64)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (answer,) = session.run(None, {"input": image.numpy()})
    with torch.no_grad():
        expected = net(image).numpy()
    # four layers in float32
    assert abs(answer - expected).max() < 1e-5 * abs(expected).max()


def test_what_an_exporter_cannot_express_is_one_short_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Bessel(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = torch.special.bessel_j0(x)
            return values

    with pytest.raises(ExportError) as caught:
        trace(Bessel(), REQUEST, "torchscript")
    assert caught.value.problem.startswith("torchscript: ")
    assert "bessel_j0" in caught.value.problem
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 300
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
