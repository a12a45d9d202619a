"""Padding and shaping.

Pad            pads and value: attributes before 11, inputs from then on; axes from 18; mode wrap from 19
Reshape        allowzero (a 0 means length 0, not 'as in the input') from 14
Scatter (9)    is called ScatterElements from 11 on; reductions from 16, max and min from 18
ConvTranspose  how auto_pad shares the padding out was put right in 11
Range (27)     how half-precision numbers add up
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source

SketchedValues = Sequence[SketchedValue | None]


def pad(site: RewriteSite) -> SketchedValues:
    """Carry Pad; pads of some axes are written out for all of them before opset 18."""
    mode = site.attribute("mode", "constant")
    if mode == "wrap" and site.target < 19:
        site.refuse("mode 'wrap' came with opset 19")
    axes = site.input(3)
    if site.source >= 11 and site.target >= 11 and (axes is None or site.target >= 18):
        return site.keep()
    x = site.x()
    pads, value = _pads(site, x), _fill(site, x)
    if site.target >= 11:
        return [site.emit("Pad", x, pads, value, mode=mode)]
    number = site.constant(value, "constant_value") if isinstance(value, ir.Value) else value
    return [
        site.emit("Pad", x, mode=mode, pads=pads.tolist(), value=None if number is None else float(number.item()))
    ]


def _pads(site: RewriteSite, x: ir.Value) -> Array:
    """Return the pads of all axes: those before, then those behind."""
    if site.source < 11:
        return np.array(site.attribute("pads"), dtype=np.int64)
    given = site.input(1)
    pads = site.constant(given, "pads input") if given is not None else site.refuse("it has no pads")
    axes = site.input(3)
    if axes is None:
        return pads
    rank = site.rank(x)
    full = np.zeros((2, rank), dtype=np.int64)
    full[:, site.constant(axes, "axes input") % rank] = pads.reshape(2, -1)
    return full.ravel()


def _fill(site: RewriteSite, x: ir.Value) -> Array | ir.Value | None:
    """Return what a constant padding is made of, None for 0."""
    if site.source >= 11:
        return site.input(2)
    value = site.attribute("value", 0.0)
    return site.like(value, x) if value != 0 else None


def reshape(site: RewriteSite) -> SketchedValues:
    """Carry Reshape. Before opset 14 no dimension can be set to 0.

    A target that is computed at run time is taken to hold no 0: it would ask for an empty tensor.
    """
    if site.target >= 14 or not site.attribute("allowzero", 0):
        return site.keep()
    wanted = site.input(1)
    if wanted is None:
        site.refuse("it has no target shape")
    known = site.dims(site.node.outputs[0])
    tensor = fixed_tensor(wanted)
    if (tensor is not None and 0 in tensor.numpy()) or (known is not None and 0 in known):
        site.refuse("it asks for a dimension of length 0 (allowzero), which came with opset 14")
    return site.keep({name: a for name, a in site.node.attributes.items() if name != "allowzero"})


def scatter(site: RewriteSite) -> SketchedValues:
    """Carry Scatter and ScatterElements, one operator under two names, and ScatterND."""
    op_type = site.node.op_type
    reduction = site.attribute("reduction", "none")
    if reduction in ("max", "min") and site.target < 18:
        site.refuse(f"reduction {reduction!r} came with opset 18")
    if reduction != "none" and site.target < 16:
        site.refuse(f"reduction {reduction!r} came with opset 16")
    if op_type == "ScatterND" or (op_type == "ScatterElements" and site.target >= 11):
        return site.keep()
    x = site.x()
    name = "ScatterElements" if site.target >= 11 else "Scatter"
    inputs: tuple[Source, ...] = (x, site.input(1), site.input(2))
    return [site.emit(name, *inputs, axis=site.axis(site.attribute("axis", 0), x))]


def conv_transpose(site: RewriteSite) -> SketchedValues:
    """Carry ConvTranspose; across opset 11 only with explicit padding."""
    if (site.source < 11) == (site.target < 11):
        return site.keep()
    auto_pad = site.attribute("auto_pad", "NOTSET")
    if auto_pad.startswith("SAME") or site.attribute("output_shape") is not None:
        site.refuse("opset 11 changed how auto_pad and output_shape share the padding out")
    return [site.emit("ConvTranspose", *site.node.inputs, **site.node.attributes)]


def range_(site: RewriteSite) -> SketchedValues:
    """Carry Range, of all types whose steps add up alike in every version."""
    dtype = site.dtype(site.x())
    if dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        site.refuse(f"opset 27 changed how {dtype.name.lower()} steps add up")
    return [site.emit("Range", *site.node.inputs)]


RULES: dict[str, Rule] = {
    "ConvTranspose": conv_transpose,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Scatter": scatter,
    "ScatterElements": scatter,
    "ScatterND": scatter,
}
