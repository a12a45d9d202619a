"""Run ONNX Runtime's own quantiser, without its output and its temporary files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from nfexport import process
from nfexport.errors import PassError
from nfexport.quantization.calibration import Calibration
from nfexport.quantization.selection import FOLLOWERS, PRODUCTS
from nfexport.recipe.quantize_step import Method

PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Metadata that tells the quantiser to skip its preparation: BatchNormalization is folded, shapes are known."""


def run_quantiser(
    model: onnx.ModelProto, nodes: Sequence[str], images: Calibration, *, method: Method, folder: Path
) -> onnx.ModelProto:
    """Return a copy of the model in which these nodes compute in int8: QDQ form, weights int8 with a scale per
    output channel, activations uint8 with a scale per tensor, biases int32.

    folder holds the quantiser's own files. Raises PassError with the quantiser's reason if it fails."""
    from onnxruntime import quantization as ort

    methods = {
        "minmax": ort.CalibrationMethod.MinMax,
        "entropy": ort.CalibrationMethod.Entropy,
        "percentile": ort.CalibrationMethod.Percentile,
    }
    source, target = folder / "float.onnx", folder / "int8.onnx"
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    del marked.metadata_props[:]
    marked.metadata_props.add(key=PREPARED[0], value=PREPARED[1])
    onnx.save(marked, source)
    try:
        # it prints, logs to the root logger, and writes copies of the model into the folder of temporary files
        with (
            process.logging_disabled(),
            process.standard_output_discarded(),
            process.temporary_files_in(folder),
        ):
            ort.quantize_static(
                str(source),
                str(target),
                _reader(images),
                quant_format=ort.QuantFormat.QDQ,
                op_types_to_quantize=[*PRODUCTS, *FOLLOWERS],
                nodes_to_quantize=list(nodes),
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
                calibrate_method=methods[method],
            )
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise PassError(
            f"ONNX Runtime's quantiser failed: {' '.join(str(error).split()).rstrip('.')} ({type(error).__name__})",
            fix="keep the node that it names in float with --keep-float, or leave the file in float",
        ) from error
    return onnx.load(target)


def _reader(images: Calibration) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._batches = images.batches()

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else dict(batch)

    return Reader()
