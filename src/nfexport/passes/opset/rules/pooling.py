"""Poolings whose last window hangs over the edge.

    MaxPool (10)      ceil_mode and dilations
    AveragePool (10)  ceil_mode; dilations from 19

Before opset 10 a pooling rounds the number of windows down. Rounding up equals rounding down with more
padding at the end: a padded cell never wins a maximum, and an average leaves it out of the count unless
count_include_pad says otherwise. With n cells, pads b and e, a kernel that spans k and a stride s:

    windows   = ⌈(n + b + e − k) / s⌉ + 1, less one if the last would start at or behind n + b
    more pads = (windows − 1)·s + k − (n + b + e), if that is above 0

Where n is not fixed, s − 1 more cells do, if no window can start in the padding: k ≥ s + e.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue
from nfexport.passes.opset.rules.schemas import schema

SketchedValues = Sequence[SketchedValue | None]


def more_padding(size: int | None, *, kernel: int, stride: int, before: int, after: int) -> int | None:
    """Return how many cells more at the end give rounding down the same windows as rounding up.

    size is None where it is not fixed; so is the answer, where it depends on the size.
    """
    if stride == 1:
        return 0
    if size is None:
        return stride - 1 if kernel >= stride + after else None
    padded = size + before + after
    last = -(-(padded - kernel) // stride)
    if last * stride >= size + before:
        last -= 1
    return max(0, last * stride + kernel - padded)


def pool(site: RewriteSite) -> SketchedValues:
    """Carry MaxPool or AveragePool."""
    op_type, given = site.node.op_type, dict(site.node.attributes)
    form = schema(op_type, site.target)
    dilations = site.attribute("dilations")
    if dilations is not None and (form is None or "dilations" not in form.attributes):
        if any(dilation != 1 for dilation in dilations):
            site.refuse(f"its dilations {list(dilations)} are not all 1, and opset {site.target} knows no other")
        del given["dilations"]
    if site.target >= 10 or not site.attribute("ceil_mode", 0):
        return site.keep(given)
    # SAME fixes the number of windows, whichever way is rounded.
    pads = None if site.attribute("auto_pad", "NOTSET").startswith("SAME") else _end_padded(site)
    for name in ("ceil_mode", *(() if pads is None else ("pads", "auto_pad", "count_include_pad"))):
        given.pop(name, None)
    outputs = len(site.node.outputs)
    return site.emit_many(op_type, site.x(), outputs=outputs, pads=pads, **given)


def _end_padded(site: RewriteSite) -> list[int]:
    """Return the pads with which rounding down gives the windows of rounding up."""
    kernel = list(site.attribute("kernel_shape"))
    axes = len(kernel)
    strides = site.attribute("strides") or [1] * axes
    pads = list(site.attribute("pads") or [0] * 2 * axes)
    dims = site.dims(site.x())
    sizes = [None] * axes if dims is None else dims[-axes:]
    wider = list(pads)
    for i, size in enumerate(sizes):
        more = more_padding(size, kernel=kernel[i], stride=strides[i], before=pads[i], after=pads[axes + i])
        if more is None:
            site.refuse(
                f"ceil_mode came with opset 10, and how many windows it adds along axis {i + 2} depends on a "
                "size that is not fixed"
            )
        wider[axes + i] += more
    if site.attribute("count_include_pad", 0) and any(pads) and wider != pads:
        site.refuse("ceil_mode came with opset 10, and here count_include_pad counts some of its padding")
    return wider


RULES: dict[str, Rule] = {"AveragePool": pool, "MaxPool": pool}
