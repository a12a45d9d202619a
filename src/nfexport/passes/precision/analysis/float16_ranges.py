"""Which tensors come near the end of float16's range, by running the graph on seeded images.

    m(t) = max |t|  over the images;  near the end: m(t) > 65504 / 8

One session, with a ReduceMax over each float tensor's magnitude as further outputs.
"""

from __future__ import annotations

from nfexport.errors import PassError
from nfexport.graph.constants import stored_bytes
from nfexport.graph.libraries import Array, ir, np, onnx

LARGEST = 65504.0
"""The largest finite float16."""

MARGIN = 8.0
"""Images of users may drive a layer further than seeded ones do."""

UNKNOWN_SIZE = 64

MOST_BYTES = 2**31 - 2**24
"""Of weights, which leave room for the graph in one message."""


def overflowing(model: ir.Model) -> frozenset[str]:
    """Return the names of float32 tensors that come near float16's range; none if the graph cannot be run
    on images of N(0, 1), because an input's shape or type is not known."""
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None or not value.dtype.is_floating_point():
            return frozenset()
        sizes = [
            size if isinstance(size, int) else (1 if axis == 0 else UNKNOWN_SIZE)
            for axis, size in enumerate(value.shape)
        ]
        generator = np.random.Generator(np.random.Philox(key=len(feeds)))
        feeds[str(value.name)] = generator.standard_normal(sizes).astype(value.dtype.numpy())
    probes = _with_probes(model)
    if probes is None:
        return frozenset()
    proto, names = probes
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = session.run([f"{name}/max" for name in names], feeds)
    except Exception:  # noqa: BLE001 - a graph that this runtime cannot run tells nothing of its ranges
        return frozenset()
    limit = LARGEST / MARGIN
    # NaN is beyond every range
    return frozenset(name for name, value in zip(names, values, strict=True) if not float(np.max(value)) <= limit)


def _with_probes(model: ir.Model) -> tuple[onnx.ModelProto, list[str]] | None:
    names = [
        str(output.name)
        for node in model.graph
        for output in node.outputs
        if output.dtype == ir.DataType.FLOAT and output.name
    ]
    if not names:
        return None
    if stored_bytes(model.graph) > MOST_BYTES:
        raise PassError(
            "past 2 GiB of weights nothing tells where float16 overflows: no runtime takes the graph from memory",
            fix="pass --precision fp16-weights",
        )
    proto = ir.to_proto(model)
    for name in names:
        magnitude, largest = f"{name}/abs", f"{name}/max"
        proto.graph.node.append(onnx.helper.make_node("Abs", [name], [magnitude]))
        proto.graph.node.append(onnx.helper.make_node("ReduceMax", [magnitude], [largest], keepdims=0))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(largest, onnx.TensorProto.FLOAT, None))
    return proto, names
