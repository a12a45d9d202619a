"""Whether the weights in a file are those of the model; nothing is run for it.

Images show only what they reach: a filter in front of a Relu that is silent on all of them may hold anything. So
the initializers that have the name of a parameter (tracing keeps the names) are compared with the parameter, or,
where a layer computes its weight, as weight standardisation does, with what it computes in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nfexport.runtimes import Model
from nfexport.verification.tolerance import FLOOR_MAX, UNIT
from nfexport.verification.torch_reference import in_float64

TRANSPOSED = ".T"
"""Ending of the names of weights that are stored transposed, as MatMul takes them."""

MOST_NAMED = 3

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightCheck:
    """How many initializers were compared with the parameter of their name, and those that differ.

    differing maps each of them to its largest difference, relative to the largest number of the weight."""

    compared: int
    differing: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """True if none differs."""
        return not self.differing

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        if self.passed:
            return f"all {self.compared} weights compared are the model's"
        named = [f"'{name}' (off by {error:.1e})" for name, error in list(self.differing.items())[:MOST_NAMED]]
        rest = len(self.differing) - len(named)
        more = f" and {rest} more" if rest else ""
        return f"{len(self.differing)} of {self.compared} weights are not the model's: {', '.join(named)}{more}"


INT8 = "_quantized"
"""Ending of the names of weights that are stored as integers, with a scale for each output channel."""


def check_weights(
    module: torch.nn.Module, model: Model, example: Callable[[], Sequence[torch.Tensor]] | None = None
) -> WeightCheck | None:
    """Compare the float32 initializers of a file with the parameters of the module, by name.

    A weight may differ by 4 units in the last place of its largest number, as other exporters fold in float32; a
    weight that is stored in int8 may differ by half a step of its scale in addition. Returns None for a model with
    BatchNormalization, since folding it changes the weights of convolutions.
    module: float32, on the CPU; it is left as it was. example returns its inputs: where a weight is not the module's
    own, the module is run once to see what its convolutions compute from that parameter."""
    if any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        return None
    wanted = dict(_parameters(module))
    compared, differing = 0, {}
    computed_in_run: Mapping[str, NDArray[Any]] | None = None
    for label, stored, half_step in _stored(model):
        own = label if half_step is None else label.removesuffix(INT8)
        name = own.removesuffix(TRANSPOSED)
        if name not in wanted:
            continue
        layer, parameter = wanted[name]
        computed = _computed_weight(layer) if name.rpartition(".")[2] == "weight" else None
        choices = [parameter] if computed is None else [parameter, computed]
        if name != own:
            choices = [choice.T for choice in choices]
        choices = [choice.reshape(stored.shape) for choice in choices if _same_but_ones(choice, stored)]
        if not choices:
            continue
        compared += 1
        error = min(_error(stored, choice, half_step) for choice in choices)
        if not error <= FLOOR_MAX * UNIT and example is not None:
            if computed_in_run is None:
                computed_in_run = convolved_weights(module, example())
            seen = computed_in_run.get(name)
            if seen is not None and _same_but_ones(seen, stored):
                error = min(error, _error(stored, seen.reshape(stored.shape), half_step))
        if not error <= FLOOR_MAX * UNIT:
            differing[label] = error
    return WeightCheck(compared=compared, differing=differing)


def _same_but_ones(parameter: NDArray[Any], stored: NDArray[Any]) -> bool:
    """Say whether the shapes are the same but for axes of size 1, such as of a 1 × 1 convolution that became a
    MatMul."""
    return np.squeeze(parameter).shape == np.squeeze(stored).shape


def _error(stored: NDArray[Any], wanted: NDArray[Any], half_step: NDArray[Any] | None) -> float:
    if stored.dtype == wanted.dtype and np.array_equal(stored, wanted):
        return 0.0
    scale = float(np.abs(wanted).max(initial=0.0)) or 1.0
    error = np.abs(stored.astype(np.float64) - wanted)
    if half_step is not None:
        error = np.maximum(error - half_step, 0.0)
    return float(error.max(initial=0.0)) / scale


def _stored(model: Model) -> Iterator[tuple[str, NDArray[Any], NDArray[Any] | None]]:
    """Yield the float32 initializers by name, and the int8 weights as the floats that they stand for, with half a
    step of their scale. External data is mapped, one tensor at a time."""
    graph = (ir.from_proto(onnx.load_from_string(model)) if isinstance(model, bytes) else ir.load(model)).graph
    scales = {
        str(node.inputs[0].name): (_array(node.inputs[1]), _array(node.inputs[2]), node.attributes.get_int("axis", 1))
        for node in graph
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None and node.inputs[0].is_initializer()
    }
    for name, value in graph.initializers.items():
        tensor, value.const_value = value.const_value, None
        if tensor is None:
            continue
        if tensor.dtype == ir.DataType.FLOAT:
            yield name, tensor.numpy(), None
        elif tensor.dtype == ir.DataType.INT8 and name.endswith(INT8) and name in scales:
            scale, zero, axis = scales[name]
            shape = [-1 if index == axis else 1 for index in range(tensor.numpy().ndim)]
            if scale.ndim:
                scale, zero = scale.reshape(shape), zero.reshape(shape)
            stored = (tensor.numpy() - zero) * scale
            yield name, stored, np.broadcast_to(scale / 2, stored.shape)


def _array(value: ir.Value | None) -> NDArray[np.float64]:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _parameters(module: torch.nn.Module) -> Iterator[tuple[str, tuple[torch.nn.Module, NDArray[Any]]]]:
    """Yield each parameter by name, with the layer that it belongs to."""
    for path, layer in module.named_modules():
        for name, tensor in layer.named_parameters(recurse=False):
            yield f"{path}.{name}".lstrip("."), (layer, tensor.detach().numpy())


def _computed_weight(layer: torch.nn.Module) -> NDArray[Any] | None:
    """Return the weight that a convolution with a forward of its own convolves with, in float64."""
    if not isinstance(layer, torch.nn.Conv2d) or type(layer).forward is torch.nn.Conv2d.forward:
        return None
    size = tuple(
        (kernel - 1) * dilation + 1 for kernel, dilation in zip(layer.kernel_size, layer.dilation, strict=True)
    )
    with torch.inference_mode(), in_float64(), _Listening() as mode:
        layer(torch.zeros(1, layer.in_channels, *size))
    weight: NDArray[Any] | None = mode.weight
    return weight


def convolved_weights(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Return the weights that convolutions compute from parameters, in float64, by the name of the parameter that has
    as many numbers; from one run on these inputs. Whatever formula the module has for them."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    with torch.inference_mode(), in_float64(), _Following(names) as mode:
        module(*inputs)
    found: dict[str, NDArray[Any]] = mode.weights
    return found


class _Following(TorchFunctionMode):
    """Follows what is computed from parameters alone, up to the convolutions that take it for their weight."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.weights: dict[str, NDArray[Any]] = {}
        self._names = names
        self._roots: Any = WeakIdKeyDictionary()  # torch does not type it

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").partition(".")[0] in CONVOLUTIONS and len(args) > 1:
            self._take(args[1])
        result = func(*args, **kwargs)
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        roots = [self._roots_of(tensor) for tensor in given]
        if given and all(roots):
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, torch.Tensor):
                    self._roots[tensor] = frozenset().union(*roots)
        return result

    def _roots_of(self, tensor: torch.Tensor) -> frozenset[str]:
        """Return the names of the parameters that a tensor is computed from; none if also from something else."""
        own = self._names.get(id(tensor))
        found: frozenset[str] = frozenset({own}) if own is not None else self._roots.get(tensor, frozenset())
        return found

    def _take(self, weight: torch.Tensor) -> None:
        for name in self._roots.get(weight, ()):
            array = weight.detach().double().numpy()
            self.weights[name] = array


class _Listening(TorchFunctionMode):
    """Keeps the weight of the convolution that runs inside."""

    weight: NDArray[Any] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") == "conv2d":
            self.weight = args[1].detach().double().numpy()
        return func(*args, **(kwargs or {}))
