"""What a module computes with: its constants, and the linear operators between them; from one run without numbers.

The inputs of the run are on torch's meta device, so activations have a shape only, while whatever is computed from
parameters alone is computed in float64. A module whose flow depends on numbers runs on the numbers instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nfexport.verification.accounting.linear_chain import Array, Diag, Layer, Steps, Sum
from nfexport.verification.torch_reference import in_float64

MOST_STEPS = 12
"""Steps of a chain that is followed; RepVGG's blocks need five."""

MOST_FORMS = 16

PASSING = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "contiguous",
        "flatten",
        "reshape",
        "view",
        "permute",
        "transpose",
        "swapaxes",
        "movedim",
        "squeeze",
        "unsqueeze",
        "mean",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "pad",
        "constant_pad_nd",
        "to",
        "double",
        "float",
        "clone",
        "expand",
        "__get__",
        "detach",
        "roll",
    ]
)
"""Operators that a factor per channel commutes with, and that leave its channel alone."""

SUMS = {"add": 1.0, "__add__": 1.0, "__radd__": 1.0, "__iadd__": 1.0, "add_": 1.0, "sub": -1.0, "__sub__": -1.0}
SUMS |= {"__isub__": -1.0, "sub_": -1.0}
PRODUCTS = frozenset({"mul", "__mul__", "__rmul__", "__imul__", "mul_", "multiply"})
QUOTIENTS = frozenset({"div", "__truediv__", "__itruediv__", "div_", "true_divide"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
NORMS = {"layer_norm": 2, "group_norm": 2, "instance_norm": 3, "rms_norm": 2, "native_layer_norm": 2}
"""The position of the scale among the arguments."""

Form = tuple[object, Steps]
"""A value, and the steps that lead from it to another one."""


class Recording(TorchFunctionMode):
    """Records a run: constants holds the real tensors that activations meet, chains the linear steps with a layer.

    inputs are the activations that the run starts with; in front lists the steps that a file may do on the input."""

    def __init__(self, inputs: Sequence[torch.Tensor], front: Sequence[Steps] = ()) -> None:
        super().__init__()
        self.constants: list[NDArray[Any]] = []
        self.chains: list[Steps] = []
        self.vectors: list[Array] = []
        self._known: Any = WeakIdKeyDictionary()  # torch does not type it
        self._flow: Any = WeakIdKeyDictionary()
        for tensor in inputs:
            self._flow[tensor] = [(object(), ()), *((object(), steps) for steps in front)]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors([args, kwargs]))
        if not any(tensor in self._flow for tensor in tensors):
            return func(*args, **kwargs)
        if getattr(func, "__name__", "") == "__get__" and getattr(func.__self__, "__name__", "") == "device":
            return torch.device("cpu")  # whatever the module creates there is a constant
        for tensor in tensors:
            if tensor not in self._flow:
                self._constant(tensor)
        if any(tensor.is_meta for tensor in tensors):
            result = func(*_on_meta(args), **_on_meta(kwargs))
        else:
            result = func(*args, **kwargs)
        made = list(_tensors([result]))
        if func is torch.Tensor.__setitem__:
            made.append(args[0])
        name = getattr(func, "__name__", "").partition(".")[0]
        forms = self._forms_of(name, args, kwargs) if len(made) == 1 else []
        for tensor in made:
            if tensor not in self._flow or name not in PASSING:  # an operator in place gives its operand a new value
                self._flow[tensor] = [(object(), ()), *forms]
        return result

    def _constant(self, tensor: torch.Tensor) -> NDArray[Any]:
        """Return a real tensor as an array: one that is computed here is kept in float32 if it is large."""
        found: NDArray[Any] | None = self._known.get(tensor)
        if found is None:
            with torch._C.DisableTorchFunction():
                found = tensor.detach().numpy()
            if found.dtype == np.float64 and found.size > LARGE:
                found = found.astype(np.float32)
            self._known[tensor] = found
            if found.dtype.kind == "f":
                self.constants.append(found)
        return found

    def _forms_of(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Form]:
        """Return the chains that end in the result of an operator."""
        if name in PASSING:
            forms: list[Form] = self._flow.get(_first(args, kwargs), [])
            pooled = _average(args, kwargs) if name == "avg_pool2d" else None
            # in a sum the pooling counts as the convolution that it is, so that form comes first
            return [*([] if pooled is None else self._extended(_first(args, kwargs), pooled)), *forms][:MOST_FORMS]
        if name in CONVOLUTIONS or name == "linear" or name in TRANSPOSED:
            return self._layer(name, args, kwargs)
        if name in SUMS and len(args) > 1 and all(_is_live(value, self._flow) for value in args[:2]):
            return self._added(args[0], args[1], SUMS[name] * float(kwargs.get("alpha", 1)))
        if name in NORMS:
            steps = self._norm(name, args, kwargs)
            return [] if steps is None else [(object(), steps)]
        diag = self._diag(name, args, kwargs)
        if diag is None:
            return []
        live = next(value for value in (*args, *kwargs.values()) if _is_live(value, self._flow))
        self.vectors += [array for array in (diag.scale, diag.shift) if array.size > 1]
        return self._extended(live, diag)

    def _extended(self, tensor: torch.Tensor, step: Diag | Layer) -> list[Form]:
        forms = [(source, (*steps, step)) for source, steps in self._flow[tensor] if len(steps) < MOST_STEPS]
        forms = forms[:MOST_FORMS]
        self._keep(forms)
        return forms

    def _keep(self, forms: Sequence[Form]) -> None:
        self.chains += [steps for _, steps in forms if any(isinstance(step, Layer | Sum) for step in steps)]

    def _layer(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Form]:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        weight, bias = given["weight"], given.get("bias")
        if not _is_live(given.get("input"), self._flow) or any(_is_live(one, self._flow) for one in (weight, bias)):
            return []
        array = self._constant(weight)
        axes = array.ndim - 2
        if name in TRANSPOSED:
            array = array.swapaxes(0, 1)
        padding = given.get("padding", 0)
        layer = Layer(
            weight=array,
            bias=None if bias is None else self._constant(bias),
            stride=_each(given.get("stride", 1), axes),
            padding=_each(0 if isinstance(padding, str) else padding, axes),
            dilation=_each(given.get("dilation", 1), axes),
            groups=int(given.get("groups", 1)) if name in CONVOLUTIONS else 1,
        )
        return self._extended(given["input"], layer)

    def _added(self, one: torch.Tensor, two: torch.Tensor, sign: float) -> list[Form]:
        """Return the sums of chains from one value; of the first such chain of each."""
        forms: list[Form] = []
        others: dict[object, Steps] = {}
        for source, steps in self._flow[two]:
            others.setdefault(source, steps)
        for source, steps in self._flow[one]:
            if source in others:
                forms.append((source, (Sum(steps, others[source], sign),)))
        forms = forms[:MOST_FORMS]
        self._keep([form for form in forms if _has_layer(form[1])])
        return forms

    def _norm(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Steps | None:
        at = NORMS[name]
        scale = args[at] if len(args) > at else kwargs.get("weight")
        shift = args[at + 1] if len(args) > at + 1 else kwargs.get("bias")
        if not isinstance(scale, torch.Tensor) or scale in self._flow:
            return None
        zero = np.zeros(())
        return (Diag(self._vector(scale), self._vector(shift) if isinstance(shift, torch.Tensor) else zero),)

    def _vector(self, tensor: torch.Tensor) -> Array:
        return self._constant(tensor).astype(np.float64).reshape(-1)

    def _diag(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Diag | None:
        """Return an operator as a factor and an offset for each channel, None if it is none."""
        if name == "batch_norm":
            return self._batch_norm(args, kwargs)
        if len(args) < 2 or not (name in SUMS or name in PRODUCTS or name in QUOTIENTS):
            return None
        live, other = (args[0], args[1]) if _is_live(args[0], self._flow) else (args[1], args[0])
        if _is_live(other, self._flow):
            return None
        number = self._per_channel(other)
        if number is None or (name in QUOTIENTS and live is not args[0]):
            return None
        if name in PRODUCTS:
            return Diag(number, np.zeros(()))
        if name in QUOTIENTS:
            return Diag(1.0 / number, np.zeros(()))
        if live is args[0]:
            return Diag(np.ones(()), SUMS[name] * number)
        return Diag(np.asarray(SUMS[name]), number)

    def _per_channel(self, value: Any) -> Array | None:
        if isinstance(value, int | float):
            return np.asarray(float(value))
        if not isinstance(value, torch.Tensor) or sum(size > 1 for size in value.shape) > 1:
            return None
        return self._vector(value) if value.numel() > 1 else self._vector(value).reshape(())

    def _batch_norm(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Diag | None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        if given.get("training") or given.get("running_mean") is None:
            return None
        mean, variance = self._vector(given["running_mean"]), self._vector(given["running_var"])
        scale = 1.0 / np.sqrt(variance + float(given.get("eps", 1e-5)))
        if given.get("weight") is not None:
            scale = scale * self._vector(given["weight"])
        bias = 0.0 if given.get("bias") is None else self._vector(given["bias"])
        return Diag(scale, bias - mean * scale)


LARGE = 1 << 16
"""Numbers; rounding a computed weight to float32 costs an eighth of what is allowed."""


def record(
    module: torch.nn.Module, inputs: Callable[[], Sequence[torch.Tensor]], front: Sequence[Steps] = ()
) -> Recording:
    """Run the module in float64 and return what was recorded; on the meta device if it can.

    The module is left as it was. Raises what the module raises on the inputs themselves."""
    given = inputs()
    with contextlib.suppress(Exception):  # whatever goes wrong without numbers, the run with numbers shows
        return _run(module, [tensor.to("meta") for tensor in given], front)
    return _run(module, list(given), front)


def _run(module: torch.nn.Module, inputs: list[torch.Tensor], front: Sequence[Steps]) -> Recording:
    recording = Recording(inputs, front)
    with torch.inference_mode(), in_float64(), recording:
        module(*inputs)
    return recording


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _on_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value if value.is_meta else value.to("meta")
    if type(value) in (list, tuple):
        return type(value)(map(_on_meta, value))
    if type(value) is dict:
        return {name: _on_meta(entry) for name, entry in value.items()}
    return value


def _average(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Layer | None:
    """Return an average pooling as the convolution that it is; None if the windows differ in their sizes."""
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    taps = _each(given["kernel_size"], 2)
    padding = _each(given.get("padding", 0), 2)
    if given.get("ceil_mode") or (any(padding) and not given.get("count_include_pad", True)):
        return None
    channels = given["input"].shape[-3]
    weight = np.full((channels, 1, *taps), 1.0 / (given.get("divisor_override") or taps[0] * taps[1]))
    stride = _each(given.get("stride") or taps, 2)
    return Layer(weight, None, stride=stride, padding=padding, dilation=(1, 1), groups=channels)


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else kwargs.get("input")


def _is_live(value: Any, flow: Any) -> bool:
    return isinstance(value, torch.Tensor) and value in flow


def _has_layer(steps: Steps) -> bool:
    return any(
        isinstance(step, Layer) or (isinstance(step, Sum) and (_has_layer(step.first) or _has_layer(step.second)))
        for step in steps
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    return tuple(int(number) for number in (numbers * axes if len(numbers) == 1 else numbers))
