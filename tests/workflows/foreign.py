"""Files as other tools make them: weight standardisation in each of its spellings."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-3
"""Large enough for a wrong place of it to show."""


class Standardised(nn.Module):
    """A stem, a grouped, a shared and a transposed convolution, each of standardised weights, in one spelling."""

    stem: nn.Parameter
    grouped: nn.Parameter
    shared: nn.Parameter
    up: nn.Parameter

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        generator = torch.Generator().manual_seed(0)
        shapes = {"stem": (8, 3, 3, 3), "grouped": (8, 2, 3, 3), "shared": (8, 8, 3, 3), "up": (8, 4, 2, 2)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(0.1 * torch.randn(shape, generator=generator) + 0.02))
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(8, 1, 1, 1, generator=generator))

    def standardise(self, weight: torch.Tensor) -> torch.Tensor:
        axes = [1, 2, 3]
        if self.spelling == "std_mean":
            std, mean = torch.std_mean(weight, dim=axes, keepdim=True, unbiased=False)
            return self.gain * (weight - mean) / (std + EPS)
        if self.spelling == "unbiased":
            std, mean = torch.std(weight, dim=axes, keepdim=True), torch.mean(weight, dim=axes, keepdim=True)
            return self.gain * (weight - mean) / (std + EPS)
        if self.spelling == "var_mean":
            var, mean = torch.var_mean(weight, dim=axes, keepdim=True, unbiased=False)
            return self.gain * (weight - mean) / torch.sqrt(var + EPS)
        if self.spelling == "batch_norm":
            flat = weight.reshape(1, weight.shape[0], -1)
            gain = self.gain.reshape(-1)
            return F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=EPS).reshape_as(
                weight
            )
        return F.layer_norm(weight, weight.shape[1:], eps=EPS) * self.gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, self.standardise(self.stem), stride=2, padding=1).relu()
        x = F.conv2d(x, self.standardise(self.grouped), padding=1, groups=4).relu()
        shared = self.standardise(self.shared)
        x = F.conv2d(F.conv2d(x, shared, padding=1).relu(), shared, padding=1).relu()
        return F.conv_transpose2d(x, self.standardise(self.up), stride=2)


SPELLINGS = ("std_mean", "unbiased", "var_mean", "batch_norm", "layer_norm")


def by_torchscript(
    module: nn.Module, opset: int, *, folding: bool = True, weights_as_inputs: bool = False
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros(2, 3, 16, 16),),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes streams too
            dynamo=False,
            opset_version=opset,
            do_constant_folding=folding,
            keep_initializers_as_inputs=weights_as_inputs,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
    return onnx.load_model_from_string(buffer.getvalue())


def by_dynamo(module: nn.Module) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), (torch.zeros(2, 3, 16, 16),), dynamo=True, input_names=["x"], verbose=False
        )
    assert program is not None
    return program.model_proto
