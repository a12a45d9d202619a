"""The file that surgery started from, as the reference: its outputs, and what float32 costs on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from nfexport.errors import OnnxFileError
from nfexport.graph.constants import FEWEST_WEIGHTS
from nfexport.runtimes import Session
from nfexport.runtimes.session.in_memory import open_in_memory
from nfexport.verification.surgery.source_feeds import shapes

Array = NDArray[Any]
Arrays = dict[str, Array]


class FileReference:
    """The source, with the tensors where it was cut as further outputs, run in three ways: one after the other, so
    that the runtime holds its copy of the weights once."""

    def __init__(self, source: ir.Model, *, extra: Sequence[str] = (), unit: float, widen: bool = True) -> None:
        self._model = source.clone()
        # weights in Constant nodes round as any others do
        LiftConstantsToInitializersPass(size_limit=FEWEST_WEIGHTS)(self._model)
        self._unit = unit
        if widen:
            _widen_input(self._model)
        values = ir.convenience.create_value_mapping(self._model.graph, include_subgraphs=False)
        known = {value.name for value in self._model.graph.outputs}
        self._model.graph.outputs.extend(values[name] for name in dict.fromkeys(extra) if name not in known)

    def run(self, batches: Sequence[Mapping[str, Array]]) -> list[tuple[Arrays, list[Arrays]]]:
        """Return, for each batch, the outputs at the default level, and those of all runs, the default one first."""
        runs = [self._run_all(open_in_memory(self._model), batches)]
        runs.append(self._run_all(open_in_memory(self._model, optimise=False), batches))
        runs.append(self._run_all(open_in_memory(_shaken(self._model, self._unit)), batches))
        return [(results[0], list(results)) for results in zip(*runs, strict=True)]

    def _run_all(self, session: Session, batches: Sequence[Mapping[str, Array]]) -> list[Arrays]:
        return [self._run_one(session, given) for given in batches]

    def _run_one(self, session: Session, given: Mapping[str, Array]) -> Arrays:
        try:
            return run_in_chunks(session, given)
        except RuntimeError as error:
            raise OnnxFileError(
                f"ONNX Runtime cannot run the input file on {shapes(given)}: {error}",
                fix="pass --no-verify",
            ) from error


def _widen_input(model: ir.Model) -> None:
    """Let an input of bytes that is only cast take float32: normalised bytes are not whole numbers."""
    for value in model.graph.inputs:
        readers = [use.node for use in value.uses()]
        if readers and all(node.op_type == "Cast" for node in readers):
            value.type = ir.TensorType(ir.DataType.FLOAT)


def _shaken(model: ir.Model, unit: float) -> ir.Model:
    """Return the model with every weight off by a unit in the last place, up, down or not at all. The weights
    are computed when they are written."""
    shaken = model.clone()
    for index, value in enumerate(shaken.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
            continue
        if tensor.size >= FEWEST_WEIGHTS:
            grain = unit if tensor.dtype == ir.DataType.FLOAT else max(unit, 2.0**-10)
            value.const_value = ir.LazyTensor(
                functools.partial(_shake, tensor, grain, index),
                tensor.dtype,
                ir.Shape(tensor.shape.numpy()),
                name=tensor.name,
            )
    return shaken


def _shake(tensor: ir.TensorProtocol, grain: float, index: int) -> ir.TensorProtocol:
    array = tensor.numpy()
    noise = np.random.Generator(np.random.Philox(key=index)).integers(-1, 2, array.shape, dtype=np.int8)
    return ir.Tensor((array * (1.0 + grain * noise)).astype(array.dtype), name=tensor.name)


def run_in_chunks(session: Session, given: Mapping[str, Array]) -> Arrays:
    """Run a file of a fixed batch as often as needed, and concatenate the outputs."""
    fixed = next((shape[0] for shape in session.inputs.values() if shape and isinstance(shape[0], int)), None)
    return joined([session.run(part) for part in chunks(given, fixed)])


def chunks(given: Mapping[str, Array], fixed: int | None) -> list[Mapping[str, Array]]:
    """Return feeds in parts of a fixed batch; as they are if there is none, or they do not divide into such parts."""
    total = next((array.shape[0] for array in given.values() if array.ndim), 1)
    if not fixed or fixed == total or total % fixed:
        return [given]
    return [{name: array[i : i + fixed] for name, array in given.items()} for i in range(0, total, fixed)]


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Return the outputs of parts as those of the whole."""
    return parts[0] if len(parts) == 1 else {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
