"""Weights that are standardised when they are written equal, bit by bit, those folded from the traced graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
import pytest
import torch

from nfexport.graph.standardisation import Standardisation, standardise
from nfexport.passes.base import Bundle, Request
from nfexport.passes.plan import plan, run
from nfexport.sources.timm.standardised_layers import standardisations
from nfexport.sources.timm.torchvision_operators import import_timm
from nfexport.tracing import TraceRequest, trace
from nfexport.tracing.request import image_input

layers = import_timm().layers

REQUEST = TraceRequest(
    inputs=(image_input("input", batch="dynamic", channels=8, image_size=(32, 32)),),
    opset=11,
    output_names=("output",),
    output_shapes={"output": ("batch",)},
)
LAYERS = ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")


def network(layer: str) -> torch.nn.Sequential:
    """Three convolutions: with groups and a stride, large enough for stand-ins and several runs of rows."""
    kind = getattr(layers, layer)
    torch.manual_seed(0)
    options: dict[str, Any] = {"gamma": 1.7} if layer.startswith("Scaled") else {}
    net = torch.nn.Sequential(
        kind(8, 64, 3, stride=2, bias=True, eps=1e-4, **options),
        torch.nn.ReLU(),
        kind(64, 96, 3, groups=4, stride=2, **options),
        kind(96, 800, 1, **options),
    ).eval()
    for name, parameter in net.named_parameters():
        # filters of std 0.01, where eps matters, and gains that differ
        torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("gain") else 0.003, std=0.01)
    return net


def folded(net: torch.nn.Module, request: TraceRequest) -> ir.Model:
    model = trace(net, request, "torchscript")
    asked = Request(command="export", values={"fold_ws": True}, opset=request.opset)
    run(model, plan(asked, {Bundle.EXPORT}))
    return model


def weights(model: ir.Model) -> dict[str, np.ndarray[Any, Any]]:
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_bits_are_those_of_the_traced_graph(layer: str, opset: int) -> None:
    net = network(layer)
    request = dataclasses.replace(REQUEST, opset=opset)
    known = standardisations(net)
    assert set(known) == {"0.weight", "2.weight", "3.weight"}
    by_graph = weights(folded(net, request))
    left_out = folded(net, dataclasses.replace(request, standardised=known))
    assert [node.op_type for node in left_out.graph].count("Conv") == 3
    by_formula = weights(left_out)
    assert list(by_formula) == list(by_graph)
    for name, array in by_graph.items():
        assert by_formula[name].tobytes() == array.tobytes(), name


def test_other_formulas_have_other_bits() -> None:
    """That the comparison above can fail: eps of another layer, and no gain."""
    net = network("ScaledStdConv2d")
    right = standardisations(net)["0.weight"]
    exact = weights(folded(net, REQUEST))["0.weight"]
    for wrong in (msgspec.structs.replace(right, eps=1e-5), msgspec.structs.replace(right, gain=None)):
        request = dataclasses.replace(REQUEST, standardised={**standardisations(net), "0.weight": wrong})
        assert np.abs(weights(folded(net, request))["0.weight"] - exact).max() > 1e-3 * np.abs(exact).max()


def test_rows_are_worked_on_apart() -> None:
    """The sizes of the runs are nobody's business: the whole weight at once gives the same bits."""
    weight = np.random.default_rng(0).normal(size=(300, 40, 3, 3)).astype(np.float32)
    exact = np.empty(weight.shape)
    parts = 0
    for part, rows in standardise(weight, None, scale=1.0, eps=1e-6):
        exact[part] = rows
        parts += 1
    assert parts > 1
    flat = weight.astype(np.float64).reshape(1, 300, -1)
    centred = flat - flat.mean(axis=(0, 2), keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=(0, 2), keepdims=True) + np.float64(np.float32(1e-6)))
    assert exact.tobytes() == (centred / spread).tobytes()


def test_only_layers_whose_formula_is_certain_are_named() -> None:
    class Own(layers.StdConv2d):  # type: ignore[misc, name-defined]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv2d(x, self.weight)

    shared = layers.StdConv2d(4, 4, 1)
    twin = layers.StdConv2d(4, 4, 1)
    twin.weight = shared.weight
    hooked = layers.StdConv2d(4, 4, 1)
    hooked.register_forward_pre_hook(lambda *_: None)
    net = torch.nn.Sequential(Own(4, 4, 1), shared, twin, hooked, torch.nn.Conv2d(4, 4, 1), layers.StdConv2d(4, 4, 1))
    assert standardisations(net) == {"5.weight": Standardisation(gain=None, scale=1.0, eps=1e-6)}


def test_a_weight_that_is_read_as_it_is_too_is_folded_from_the_graph() -> None:
    class Regularised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = network("ScaledStdConv2d")[0]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert isinstance(self.conv.weight, torch.Tensor)
            y: torch.Tensor = self.conv(x) + self.conv.weight.sum()
            return y

    net = Regularised()
    request = dataclasses.replace(REQUEST, standardised=standardisations(net))
    assert set(request.standardised) == {"conv.weight"}
    by_graph, by_formula = weights(folded(net, REQUEST)), weights(folded(net, request))
    assert by_graph.keys() == by_formula.keys()
    assert all(by_formula[name].tobytes() == array.tobytes() for name, array in by_graph.items())
