"""Write what other tools make of a network, to be timed against nfexport's file.

    python benchmarks/peers.py MODEL [MODEL …] -o FOLDER
    nfexport bench FOLDER/MODEL.torchscript.onnx FOLDER/MODEL.*.onnx --runtime onnxruntime --runtime openvino

For each model, with nfexport's seeded weights: torch's TorchScript exporter at opset 11 with its defaults, that
file after onnxsim and after onnxslim, torch's dynamo exporter with optimize=True at opset 18, and nfexport's own
with --optimize and with --fold-ws alone. What is not installed, or fails, is left out and named. OpenVINO
converts these files as it loads them.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx

import nfexport
from nfexport.models.torchvision_operators import import_timm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        for peer, write in WRITERS.items():
            path = options.output / f"{name}.{peer}.onnx"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    write(name, path)
                print(path, flush=True)
            except Exception as error:  # whatever a peer raises is its result
                print(
                    f"{path}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True
                )
    return 0


def torchscript(name: str, path: Path) -> None:
    import torch

    with network(name) as (module, size):
        torch.onnx.export(
            module,
            (torch.randn(1, 3, *size),),
            str(path),
            opset_version=11,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )


def dynamo(name: str, path: Path) -> None:
    import torch

    with network(name) as (module, size):
        batch = torch.export.Dim("batch")
        program: Any = torch.onnx.export(
            module,
            (torch.randn(2, 3, *size),),
            dynamo=True,
            opset_version=18,
            dynamic_shapes=({0: batch},),
            optimize=True,
            verbose=False,
        )
        program.save(str(path))


def simplified(name: str, path: Path) -> None:
    import onnxsim

    model, agrees = onnxsim.simplify(onnx.load(path.with_name(f"{name}.torchscript.onnx")))
    if not agrees:
        raise RuntimeError("onnxsim says that its outcome differs")
    onnx.save(model, path)


def slimmed(name: str, path: Path) -> None:
    import onnxslim  # type: ignore[import-not-found]

    onnx.save(onnxslim.slim(onnx.load(path.with_name(f"{name}.torchscript.onnx"))), path)


def folded(name: str, path: Path) -> None:
    nfexport.export(name, path, fold_ws=True, verify=False)


def optimised(name: str, path: Path) -> None:
    nfexport.export(name, path, optimize=True, verify=False)


@contextlib.contextmanager
def network(name: str) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Yield the module and its picture size. Attention is taken apart, as opset 11 has none."""
    import_timm()
    from nfexport.models import loading
    from nfexport.models.spec import ModelSpec

    spec = ModelSpec(name=name, pretrained=False, checkpoint=None, seed=0, num_classes=None, image_size=None)
    loaded = loading.load(spec)
    for module in loaded.module.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]
    yield loaded.module.eval(), loaded.image_size


WRITERS: dict[str, Callable[[str, Path], None]] = {
    "torchscript": torchscript,
    "onnxsim": simplified,
    "onnxslim": slimmed,
    "dynamo": dynamo,
    "folded": folded,
    "optimised": optimised,
}

if __name__ == "__main__":
    raise SystemExit(main())
