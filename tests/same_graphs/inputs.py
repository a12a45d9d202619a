"""Files that the recorded commands read and nfexport has not made: graphs of other tools, weights, images, a preset.

Every number comes from numpy's PCG64 by a fixed seed, and is uniform: in such numbers no two machines differ. torch
does no more than trace.
"""

from __future__ import annotations

import importlib
import io
import math
import sys
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

EPS = 1e-3
"""Of the standardisations here; large enough for a wrong place of it to show."""

PRESET = """
title = "own"
summary = "A small network with a preset of its own."
model = "test_nfnet"
image_size = [64, 96]
batch = "dynamic"
opset = 13
outputs = ["topk", "embedding"]
default_form = "converted"
top_k = 3
num_classes = 7
checkpoint = "seven.safetensors"
[names]
input = "photo"
topk_values = "best"
[images]
mean = [120.0, 110.0, 100.0]
scale = [60.0, 58.0, 56.0]
resize = 96
crop_mode = "squash"
interpolation = "bilinear"
"""


def numbers(key: str, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> Floats:
    """Return float32 numbers between low and high that depend on the key and the shape alone."""
    drawn = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).random(math.prod(shape))
    return (low + (high - low) * drawn).astype(np.float32).reshape(tuple(shape))


def make(name: str, folder: Path) -> None:
    """Write the input of this name into a folder, together with what it reads itself."""
    MAKERS[name](folder / name)


# --- graphs that torch's exporters write by themselves ---------------------------------------------------------


def _standardised(spelling: str, *, dynamo: bool = False, opset: int = 17) -> Callable[[Path], None]:
    """Return what writes a network of four standardised convolutions: a stem, a grouped, a shared, a transposed."""

    def write(path: Path) -> None:
        import torch
        from torch import nn
        from torch.nn import functional as F

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = self.weight("stem", 8, 3, 3, 3)
                self.grouped = self.weight("grouped", 8, 2, 3, 3)
                self.shared = self.weight("shared", 8, 8, 3, 3)
                self.up = self.weight("up", 8, 4, 2, 2)
                self.gain = nn.Parameter(torch.from_numpy(numbers("gain", (8, 1, 1, 1), 0.8, 1.2)))

            def weight(self, name: str, *shape: int) -> nn.Parameter:
                return nn.Parameter(torch.from_numpy(numbers(name, shape, -0.18, 0.22)))

            def standardise(self, weight: torch.Tensor) -> torch.Tensor:
                axes = [1, 2, 3]
                if spelling == "std_mean":
                    std, mean = torch.std_mean(weight, dim=axes, keepdim=True, unbiased=False)
                    return self.gain * (weight - mean) / (std + EPS)
                if spelling == "unbiased":
                    std, mean = torch.std(weight, dim=axes, keepdim=True), torch.mean(weight, dim=axes, keepdim=True)
                    return self.gain * (weight - mean) / (std + EPS)
                if spelling == "var_mean":
                    var, mean = torch.var_mean(weight, dim=axes, keepdim=True, unbiased=False)
                    return self.gain * (weight - mean) / torch.sqrt(var + EPS)
                if spelling == "layer_norm":
                    return F.layer_norm(weight, weight.shape[1:], eps=EPS) * self.gain
                flat = weight.reshape(1, weight.shape[0], -1)
                gain = self.gain.reshape(-1)
                found = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=EPS)
                return found.reshape_as(weight)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = F.conv2d(x, self.standardise(self.stem), stride=2, padding=1).relu()
                x = F.conv2d(x, self.standardise(self.grouped), padding=1, groups=4).relu()
                shared = self.standardise(self.shared)
                x = F.conv2d(F.conv2d(x, shared, padding=1).relu(), shared, padding=1).relu()
                return F.conv_transpose2d(x, self.standardise(self.up), stride=2)

        _export(Network(), path, size=16, opset=opset, dynamo=dynamo)

    return write


def _timm(architecture: str, size: int, *, opset: int = 17, dynamo: bool = False) -> Callable[[Path], None]:
    """Return what writes a network of timm's without any help: standardisation as it is, BatchNormalization kept."""

    def write(path: Path) -> None:
        _export(_network(architecture), path, size=size, opset=opset, dynamo=dynamo)

    return write


def _network(architecture: str, **arguments: Any) -> torch.nn.Module:
    import torch

    network: torch.nn.Module = _import_timm().create_model(architecture, pretrained=False, **arguments)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if value.is_floating_point():
                value.copy_(torch.from_numpy(_weight(name, tuple(value.shape))))
    return network.eval()


def _import_timm() -> Any:
    """Import timm, beside a torch too whose build has another torchvision than the installed one."""
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]
    return importlib.import_module("timm")


_LIBRARIES: list[Any] = []
"""Declared operators, which go when nobody holds their library any more."""


def _weight(name: str, shape: tuple[int, ...]) -> Floats:
    """Return numbers that keep signals alive, whatever the parameter is."""
    if len(shape) > 1:
        bound = math.sqrt(3 / max(1, math.prod(shape[1:])))
        return numbers(name, shape, -bound, 1.2 * bound)
    if name.endswith(("bias", "running_mean")):
        return numbers(name, shape, -0.1, 0.1)
    return numbers(name, shape, 0.6, 1.4)


def _export(network: torch.nn.Module, path: Path, *, size: int, opset: int, dynamo: bool) -> None:
    import torch

    image = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(
                network.eval(),
                (image,),
                dynamo=True,
                opset_version=opset,
                input_names=["x"],
                optimize=False,  # what it folds, it folds in float32
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
        else:
            written = io.BytesIO()
            torch.onnx.export(
                network.eval(),
                (image,),
                written,  # type: ignore[arg-type]  # TorchScript's exporter writes to a buffer too
                dynamo=False,
                opset_version=opset,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
            )
            model = onnx.load_model_from_string(written.getvalue())
    onnx.save(model, path)


# --- graphs written node by node -------------------------------------------------------------------------------


def _write_block(path: Path) -> None:
    """One block that every rewrite has work in, with doc strings and metadata for `--strip` to drop."""
    stored: dict[str, NDArray[Any]] = {
        "stem": numbers("stem", (32, 3, 3, 3), -0.3, 0.35),
        "grouped": numbers("grouped", (32, 8, 3, 3), -0.2, 0.25),
        "offset": numbers("offset", (32,), -0.1, 0.1),
        "scale": numbers("scale", (32,), 0.7, 1.3),
        "shift": numbers("shift", (32,), -0.2, 0.2),
        "mean": numbers("mean", (32,), -0.2, 0.2),
        "variance": numbers("variance", (32,), 0.6, 1.4),
        "ones": np.ones(8, np.float32),
        "zeros": np.zeros(8, np.float32),
        "group": np.array([0, 8, -1], np.int64),
        "channels": np.array([0, 32, 16, 16], np.int64),
        "gamma": numbers("gamma", (32, 1, 1), 0.7, 1.3),
        "beta": numbers("beta", (32, 1, 1), -0.2, 0.2),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "half": np.array(0.5, np.float32),
        "reduce": numbers("reduce", (512, 32, 1, 1), -0.2, 0.25),
        "middle": numbers("middle", (520, 512, 1, 1), -0.1, 0.12),
        "expand": numbers("expand", (32, 520, 1, 1), -0.1, 0.12),
        "classes": numbers("classes", (10, 32), -0.5, 0.6),
        "bias": numbers("bias", (10,), -0.1, 0.1),
    }
    node = helper.make_node
    square: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "stem"], ["a"], "stem", **square),
        node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], "bn", epsilon=EPS),
        node("Relu", ["b"], ["c"], "act"),
        node("Conv", ["c", "grouped", "offset"], ["d"], "grouped", group=4, **square),
        node("Relu", ["d"], ["d1"], "act1"),
        node("Reshape", ["d1", "group"], ["e"], "to_groups"),
        node("InstanceNormalization", ["e", "ones", "zeros"], ["f"], "norm", epsilon=EPS),
        node("Reshape", ["f", "channels"], ["g"], "from_groups"),
        node("Mul", ["g", "gamma"], ["h"], "gamma"),
        node("Add", ["h", "beta"], ["i"], "beta"),
        node("Relu", ["i"], ["j"], "act2"),
        node("Pad", ["j", "pads"], ["k"], "pad"),
        node("MaxPool", ["k"], ["l"], "pool", kernel_shape=[3, 3], strides=[2, 2]),
        node("ReduceMean", ["l"], ["m"], "squeeze", axes=[2, 3], keepdims=1),
        node("Conv", ["m", "reduce"], ["n"], "reduce", kernel_shape=[1, 1]),
        node("Relu", ["n"], ["o"], "act3"),
        node("Conv", ["o", "middle"], ["p"], "middle", kernel_shape=[1, 1]),
        node("Relu", ["p"], ["p1"], "act4"),
        node("Conv", ["p1", "expand"], ["p2"], "expand", kernel_shape=[1, 1]),
        node("Sigmoid", ["p2"], ["q"], "gate"),
        node("Shape", ["l"], ["r"], "shape"),
        node("Expand", ["q", "r"], ["s"], "expand_as"),
        node("Mul", ["l", "s"], ["t"], "gated"),
        node("Mul", ["t", "half"], ["u"], "halved"),
        node("GlobalAveragePool", ["u"], ["v"], "average"),
        node("Flatten", ["v"], ["w"], "flatten"),
        node("Gemm", ["w", "classes", "bias"], ["y"], "classifier", transB=1),
    ]
    model = _model("block", nodes, stored, ["batch", 3, 16, 16], ["batch", 10], opset=13)
    model.doc_string = "a model"
    model.graph.doc_string = "a graph"
    model.graph.initializer[0].doc_string = "a weight"
    helper.set_model_props(model, {"pkg.maker": "none", "labels": "ten"})
    for made in model.graph.node[:5]:
        made.doc_string = f"a node, {made.op_type}"
        made.metadata_props.add(key="pkg.maker.scope", value=made.name)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def _write_bodies(path: Path) -> None:
    """An If whose branches hold weights, and operators with another form at other opsets; beside it, two outputs."""
    node = helper.make_node
    softmax = helper.make_graph(
        [
            node("Add", ["x", "inner"], ["a"], "add"),
            node("Flatten", ["a"], ["a1"], "flatten"),
            node("Softmax", ["a1"], ["then"], "softmax", axis=1),
        ],
        "then_branch",
        [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(numbers("inner", (3, 4, 4)), "inner")],
    )
    clip = helper.make_graph(
        [
            node("Clip", ["x", "low", "high"], ["b"], "clip"),
            node("HardSwish", ["b"], ["b1"], "swish"),
            node("Flatten", ["b1"], ["else"], "flatten"),
        ],
        "else_branch",
        [],
        [helper.make_tensor_value_info("else", TensorProto.FLOAT, None)],
    )
    stored: dict[str, NDArray[Any]] = {
        "low": np.array(-0.5, np.float32),
        "high": np.array(0.75, np.float32),
        "zero": np.array(0.0, np.float32),
        "axes": np.array([1], np.int64),
        "weight": numbers("weight", (48, 5), -0.2, 0.25),
    }
    nodes = [
        node("ReduceSum", ["x"], ["total"], "total", keepdims=0),
        node("Greater", ["total", "zero"], ["positive"], "positive"),
        node("If", ["positive"], ["chosen"], "if", then_branch=softmax, else_branch=clip),
        node("MatMul", ["chosen", "weight"], ["y"], "product"),
        node("ReduceSum", ["y", "axes"], ["sum"], "sum", keepdims=1),
    ]
    model = _model("bodies", nodes, stored, [2, 3, 4, 4], [2, 5], opset=14)
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [2, 1]))
    onnx.save(model, path)


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    stored: Mapping[str, NDArray[Any]],
    taken: Sequence[int | str],
    given: Sequence[int | str],
    *,
    opset: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, given)],
        [numpy_helper.from_array(array, key) for key, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="tests")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


# --- weights, images, a preset ---------------------------------------------------------------------------------


def _write_weights(path: Path) -> None:
    """The state dict of test_nfnet with seven classes."""
    state = _network("test_nfnet", num_classes=7).state_dict()
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        import torch

        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)


def _write_images(path: Path) -> None:
    from PIL import Image

    path.mkdir()
    for index, size in enumerate(((96, 96), (80, 120), (131, 90))):
        pixels = numbers(f"image {index}", (*size, 3), 0, 255).astype(np.uint8)
        pixels[: size[0] // 2] //= 4
        Image.fromarray(pixels).save(path / f"{index}.png")


def _write_presets(path: Path) -> None:
    path.mkdir()
    (path / "own.toml").write_text(PRESET, encoding="utf-8")
    _write_weights(path / "seven.safetensors")


MAKERS: Mapping[str, Callable[[Path], None]] = {
    "std_mean.onnx": _standardised("std_mean"),
    "unbiased.onnx": _standardised("unbiased", opset=13),
    "var_mean.onnx": _standardised("var_mean"),
    "batch_norm.onnx": _standardised("batch_norm"),
    "layer_norm.onnx": _standardised("layer_norm"),
    "std_mean_dynamo.onnx": _standardised("std_mean", dynamo=True, opset=18),
    "batch_norm_dynamo.onnx": _standardised("batch_norm", dynamo=True, opset=20),
    "timm_nfnet.onnx": _timm("test_nfnet", 64),
    "timm_nfnet_dynamo.onnx": _timm("test_nfnet", 64, dynamo=True, opset=18),
    "timm_efficientnet.onnx": _timm("test_efficientnet", 64),
    "timm_hybrid.onnx": _timm("vit_tiny_r_s16_p8_224", 224, opset=14),
    "block.onnx": _write_block,
    "bodies.onnx": _write_bodies,
    "seven.safetensors": _write_weights,
    "seven.pth": _write_weights,
    "images": _write_images,
    "presets": _write_presets,
}
"""What writes each input, by the name that commands call it by."""
