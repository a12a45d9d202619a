"""What the suite measures: which networks, which tools, how often."""

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
"""What nfexport is asked for: the plain use, and the file that runs fastest and is mapped as it is loaded."""

PEERS = {
    "torchscript": "timm_torchscript",
    "dynamo": "timm_dynamo",
    "optimum": "optimum_onnx",
    "openvino": "openvino_convert",
}
"""Tools that go from a timm name to a file: their modules in benchmarks/peers/."""

AFTERWARDS = {"onnxsim": "then_onnxsim", "onnxslim": "then_onnxslim"}
"""Tools that take the baseline's file. Their time is added to that of the baseline in the same round, and of the
two processes' peaks the larger counts."""

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
class Subject:
    """A network and how often things are done with it.

    size in pixels, timm's training size; extra_rounds of the tools in EXTRA; loads by ONNX Runtime, half as many
    by OpenVINO; asks at batch 1, half as many at others; runs are the inferences timed each
    time a process is asked. A big network's runtimes are measured one after the other, so that the processes
    of one fit into memory together."""

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


SUBJECTS = (
    Subject(model="nfnet_f0", size=192, rounds=5, loads=7, compiled=True),
    Subject(model="dm_nfnet_f0", size=192),
    Subject(model="nfnet_l0", size=224),
    Subject(model="nf_regnet_b1", size=256),
    Subject(model="resnetv2_50x1_bit", size=224),
    Subject(model="vit_small_r26_s32_224", size=224),
    Subject(model="efficientnet_b0", size=224, compiled=True),
    Subject(model="nfnet_f3", size=320, batches=(1,), asks=5, runs=1, loads=2, big=True),
)

QUICK = (
    Subject(model="test_nfnet", size=160, rounds=2, compiled=True),
    Subject(model="efficientnet_b0", size=224),
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
"""How many times the blocks of a narrow nfnet_f0; see benchmarks/depth.py."""

COMMANDS = {"help": ("--help",), "inspect": ("inspect",)}
COMMAND_ROUNDS = 5


def subject(model: str) -> Subject:
    """Return the network's entry; one that the plan does not know is measured at 224 pixels."""
    for known in (*SUBJECTS, *QUICK):
        if known.model == model:
            return known
    return Subject(model=model, size=224)


def tools(of: Subject, round_number: int) -> tuple[str, ...]:
    """Return the tools of one round, in the order in which they run."""
    return CORE + (EXTRA if round_number < of.extra_rounds else ())
