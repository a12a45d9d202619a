"""The available opsets: those that the installed onnx and onnxruntime share, from 9 on."""

from __future__ import annotations

import functools

from nfexport.errors import RecipeError

OLDEST_OPSET = 9
DEFAULT_OPSET = 17
"""Part of the format of recipes, which leave defaults out: changing it needs a new RECIPE_FORMAT."""


@functools.cache
def newest_opset() -> int:
    """Return the newest opset that onnx defines and onnxruntime loads.

    onnxruntime states no number, so a one-node model is loaded, from onnx's newest opset downwards."""
    import onnx.defs

    newest: int = onnx.defs.onnx_opset_version()
    return next((opset for opset in range(newest, OLDEST_OPSET, -1) if _loads(opset)), OLDEST_OPSET)


def check_opset(opset: int) -> int:
    """Return the opset, or raise RecipeError with the available range."""
    newest = newest_opset()
    if not OLDEST_OPSET <= opset <= newest:
        raise RecipeError(
            f"opset {opset} is outside {OLDEST_OPSET}..{newest}, the range that the installed onnx and "
            "onnxruntime share",
            fix=f"pass --opset with a number from {OLDEST_OPSET} to {newest}",
        )
    return opset


def _loads(opset: int) -> bool:
    import onnxruntime
    from onnx import TensorProto, helper

    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", tensor[:1], tensor[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - any refusal is the answer
        return False
    return True
