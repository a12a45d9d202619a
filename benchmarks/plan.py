"""The plan of the suite: networks, tools, and numbers of repetitions."""

from __future__ import annotations

import dataclasses

BASELINE = "torchscript"
"""The plain opset-11 file that the others are compared with."""

CORE = ("nfexport", "torchscript", "onnxsim", "dynamo", "limit")
EXTRA = ("fastest", "onnxslim", "openvino", "optimum")

OURS = {
    "nfexport": ("--fold-ws",),
    "fastest": ("--optimize", "--external-data"),
}
"""Options of nfexport: plain use, and the fastest file, which is memory-mapped when it is loaded."""

PEERS = {
    "torchscript": "timm_torchscript",
    "dynamo": "timm_dynamo",
    "optimum": "optimum_onnx",
    "openvino": "openvino_convert",
}
"""Tools that export a timm name to a file: their modules in benchmarks/peers/."""

AFTERWARDS = {"onnxsim": "then_onnxsim", "onnxslim": "then_onnxslim"}
"""Tools that process the baseline's file. Their time is added to that of the baseline in the same round; the peak is
the larger of the two processes'."""

MEASURED_FILES = ("nfexport", "fastest", "torchscript", "onnxsim", "onnxslim", "dynamo", "openvino")
"""The files whose load and latency are measured; optimum's is written by the same exporter as the baseline."""

TITLES = {
    "nfexport": "nfexport --fold-ws",
    "fastest": "nfexport --optimize --external-data",
    "torchscript": "TorchScript (timm's recipe)",
    "onnxsim": "TorchScript + onnxsim",
    "onnxslim": "TorchScript + onnxslim",
    "dynamo": "dynamo (timm's recipe)",
    "optimum": "optimum-onnx",
    "openvino": "OpenVINO's converter",
    "limit": "import, build, one forward, write",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network, and the number of repetitions of its measurements.

    size is timm's training size in pixels; extra_rounds those of the tools in EXTRA; loads those by ONNX Runtime,
    half as many by OpenVINO; asks the requests at batch 1, half as many at others; runs the timed inferences of each
    request. The runtimes of a big network are measured one after the other, so that the processes of one fit into
    memory."""

    model: str
    size: int
    rounds: int = 1
    extra_rounds: int = 1
    loads: int = 3
    batches: tuple[int, ...] = (1, 8)
    asks: int = 9
    runs: int = 2
    compiled: bool = False
    big: bool = False


NETWORKS = (
    Network(model="nfnet_f0", size=192, rounds=5, loads=7, compiled=True),
    Network(model="dm_nfnet_f0", size=192),
    Network(model="nfnet_l0", size=224),
    Network(model="nf_regnet_b1", size=256),
    Network(model="resnetv2_50x1_bit", size=224),
    Network(model="vit_small_r26_s32_224", size=224),
    Network(model="efficientnet_b0", size=224, compiled=True),
    Network(model="nfnet_f3", size=320, batches=(1,), asks=5, runs=1, loads=2, big=True),
)

QUICK = (
    Network(model="test_nfnet", size=160, rounds=2, compiled=True),
    Network(model="efficientnet_b0", size=224),
)

SCALING = (
    "test_nfnet",
    "nf_regnet_b0",
    "resnetv2_50x1_bit",
    "nfnet_f1",
    "resnetv2_50x3_bit",
    "resnetv2_101x3_bit",
    "resnetv2_152x4_bit",
)
"""From 0.4 to 936 million parameters, all at SCALING_SIZE pixels."""

SCALING_SIZE = 224
DEPTHS = (1, 2, 4, 8)
"""Multiples of the blocks of a narrow nfnet_f0; see benchmarks/depth.py."""

COMMANDS = {"help": ("--help",), "inspect": ("inspect",)}
COMMAND_ROUNDS = 5


def network(model: str) -> Network:
    """Return the entry of a network; one that is not in the plan is measured at 224 pixels."""
    for known in (*NETWORKS, *QUICK):
        if known.model == model:
            return known
    return Network(model=model, size=224)


def tools(of: Network, round_number: int) -> tuple[str, ...]:
    """Return the tools of one round, in the order in which they run."""
    return CORE + (EXTRA if round_number < of.extra_rounds else ())
