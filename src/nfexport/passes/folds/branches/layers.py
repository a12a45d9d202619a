"""Which linear map a convolution, an average pooling or a linear layer computes."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import label
from nfexport.graph.value_facts import ValueFacts
from nfexport.passes.folds.branches.linear_map import LinearMap
from nfexport.passes.folds.branches.windows import Axis
from nfexport.passes.folds.scales.factor import Refusal

COMPUTED = "its weight is computed at run time"


def floats(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor of a constant of a type that numpy has; None for anything else."""
    tensor = fixed_tensor(value)
    known = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
    return tensor if tensor is not None and tensor.dtype in known else None


def numbers(tensor: ir.TensorProtocol) -> Array:
    """Return a tensor in float64."""
    return tensor.numpy().astype(np.float64)


def convolution(node: ir.Node, facts: ValueFacts) -> LinearMap:
    """Return the map of a Conv. Raises Refusal if its weight or its padding is not known."""
    source, weight = node.inputs[0], floats(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = floats(given)
    if source is None or weight is None or (given is not None and bias is None):
        raise Refusal(COMPUTED)
    filters, width, *taps = weight.shape.numpy()
    groups = node.attributes.get_int("group", 1)
    return LinearMap(
        source=source,
        window=_window(node, taps, facts),
        filters=filters,
        channels=width * groups,
        groups=groups,
        kernel=lambda: numbers(weight),
        offset=lambda: np.zeros(filters) if bias is None else numbers(bias),
        has_offset=bias is not None and bool(bias.numpy().any()),
        dtype=weight.dtype,
        layers=(label(node),),
    )


def average_pooling(node: ir.Node, facts: ValueFacts) -> LinearMap:
    """Return the map of an AveragePool. Raises Refusal where it does not divide by the same number everywhere."""
    source = node.inputs[0]
    assert source is not None
    taps = node.attributes["kernel_shape"].as_ints()
    if node.attributes.get_int("ceil_mode", 0):
        raise Refusal("the average pooling rounds its size up")
    window = _window(node, taps, facts)
    if any(axis.begin or axis.end for axis in window) and not node.attributes.get_int("count_include_pad", 0):
        raise Refusal("the average pooling leaves the padding out of its means")
    return LinearMap(
        source=source,
        window=window,
        kernel=lambda: np.full((1, 1, *taps), 1 / np.prod(taps)),
        offset=lambda: np.zeros(1),
        has_offset=False,
    )


def linear_layer(node: ir.Node, facts: ValueFacts) -> LinearMap:
    """Return the map of a Gemm, or of a MatMul of rows. Raises Refusal if it is another product."""
    source, weight = node.inputs[0], floats(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = floats(given)
    if source is None or weight is None or len(weight.shape) != 2 or (given is not None and bias is None):
        raise Refusal(COMPUTED)
    rows = facts.dims(source)
    if node.attributes.get_int("transA", 0) or rows is None or len(rows) != 2:
        raise Refusal("it is not a product of rows")
    size = tuple(weight.shape.numpy())
    turned = bool(node.attributes.get_int("transB", 0))
    filters, channels = size if turned else size[::-1]
    if bias is not None and bias.numpy().size not in (1, bias.shape.numpy()[-1] if len(bias.shape) else 1):
        raise Refusal("its offset differs between rows")
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    return LinearMap(
        source=source,
        window=(),
        filters=filters,
        channels=channels,
        kernel=lambda: alpha * (numbers(weight) if turned else numbers(weight).T),
        offset=lambda: (
            np.zeros(filters) if bias is None else np.broadcast_to(beta * numbers(bias).reshape(-1), filters)
        ),
        has_offset=bias is not None,
        dtype=weight.dtype,
        layers=(label(node),),
    )


def _window(node: ir.Node, taps: Sequence[int], facts: ValueFacts) -> tuple[Axis, ...]:
    """Return the window along each spatial axis. Raises Refusal where the padding depends on an unknown size."""
    count = len(taps)
    strides = node.attributes.get_ints("strides", ()) or [1] * count
    dilations = node.attributes.get_ints("dilations", ()) or [1] * count
    pads = list(node.attributes.get_ints("pads", ()) or [0] * 2 * count)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    axes = [Axis(*parts) for parts in zip(taps, strides, dilations, strict=True)]
    if mode.startswith("SAME"):
        needed = [_same(axis, size) for axis, size in zip(axes, spatial_sizes(node, count, facts), strict=True)]
        small, large = [zeros // 2 for zeros in needed], [zeros - zeros // 2 for zeros in needed]
        pads = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    elif mode == "VALID":
        pads = [0] * 2 * count
    if min(pads, default=0) < 0:
        raise Refusal("it cuts the border off")
    return tuple(axis._replace(begin=pads[i], end=pads[count + i]) for i, axis in enumerate(axes))


def _same(axis: Axis, size: int | None) -> int:
    if axis.stride == 1:
        return axis.reach
    if size is None:
        raise Refusal("its padding depends on the size of the image")
    return max((-(-size // axis.stride) - 1) * axis.stride + axis.reach + 1 - size, 0)


def spatial_sizes(node: ir.Node, count: int, facts: ValueFacts) -> Sequence[int | None]:
    """Return the sizes of a node's input along its spatial axes, None for each that is unknown."""
    source = node.inputs[0]
    found = None if source is None else facts.dims(source)
    return (None,) * count if found is None or len(found) != count + 2 else found[2:]
