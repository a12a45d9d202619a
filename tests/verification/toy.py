"""A convolutional network of 400 parameters, in PyTorch and as ONNX written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, load_from_string, numpy_helper

from nfexport.recipe.recipe import Output, Preprocessing

PREPROCESSING = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=1.0, crop_mode="center", interpolation="bicubic"
)
SIZE = (12, 16)
CLASSES = 40
INTERFACE: dict[str, Any] = {
    "input_name": "image",
    "outputs": (Output(kind="logits", name="logits"),),
    "image_size": SIZE,
    "in_channels": 3,
    "preprocessing": PREPROCESSING,
}


class Toy(torch.nn.Module):
    """image [batch, 3, h, w] → logits [batch, CLASSES]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, CLASSES)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(image)).mean((2, 3))
        logits: torch.Tensor = self.head(x)
        return logits


class FirstEntryTouchesTheOthers(Toy):
    """A network whose answers hang on the order of a batch."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image + 1e-3 * image[:1])


class MeanTouchesAll(Toy):
    """A network that adds a little of a batch's mean to each of its entries."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image + 1e-3 * image.mean(0, keepdim=True))


def mixing() -> tuple[FirstEntryTouchesTheOthers, bytes]:
    """Return that network, and a file that mixes the entries as it does."""
    module = FirstEntryTouchesTheOthers()
    module.load_state_dict(toy().state_dict())
    model = load_from_string(to_onnx(weights(toy())))
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1e-3])
    index = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    model.graph.initializer.extend([scale, index])
    before = [
        helper.make_node("Gather", ["image", "zero"], ["first"], axis=0),
        helper.make_node("Mul", ["first", "scale"], ["little"]),
        helper.make_node("Add", ["image", "little"], ["mixed"]),
    ]
    model.graph.node[0].input[0] = "mixed"
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return module.eval(), bytes(model.SerializeToString())


def toy() -> Toy:
    module = Toy()
    module.eval()
    return module


def weights(module: torch.nn.Module) -> dict[str, NDArray[np.float32]]:
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


def to_onnx(
    arrays: dict[str, NDArray[np.float32]],
    *,
    batch: int | str = "batch",
    last: str = "Identity",
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    rows: int = 0,
) -> bytes:
    """Return the network as a file. `last` is an operator on the logits; rows is the batch that a Reshape
    in the middle insists on, 0 for any."""
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["a"], name="/conv/Conv", pads=pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["d"], name="/Reshape"),
        helper.make_node("Gemm", ["d", "head.weight", "head.bias"], ["e"], transB=1),
        helper.make_node(last, ["e"], ["logits"]),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    initializers.append(numpy_helper.from_array(np.array([rows, 8]), "shape"))
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, *SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
