"""Resampling images.

Resize        10: pixels by corner (asymmetric), nearest rounds down when enlarging; 11: all that is
              named; 13: roi and scales may be left out; 18: antialias, axes, aspect ratio; 19: one mode
Upsample (9)  Resize 10 under an older name
GridSample    16: modes are called bilinear and bicubic; 20: linear and cubic, and volumes too
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source

SketchedValues = Sequence[SketchedValue | None]


def resize(site: RewriteSite) -> SketchedValues:
    """Carry Resize or Upsample."""
    if site.source <= 10 or site.node.op_type == "Upsample":
        return _from_corner_form(site)
    coordinates = site.attribute("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_half_pixel_for_nn" and site.target >= 13:
        site.refuse(f"opset 13 dropped the coordinates {coordinates!r}")
    if coordinates == "half_pixel_symmetric" and site.target < 19:
        site.refuse(f"the coordinates {coordinates!r} came with opset 19")
    if site.source < 13 <= site.target:
        return _without_empty_inputs(site, coordinates)
    if site.target >= 18:
        return site.keep()
    if site.attribute("antialias", 0):
        site.refuse("antialias came with opset 18")
    if site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        site.refuse("keep_aspect_ratio_policy came with opset 18")
    if site.attribute("axes") is not None and coordinates == "tf_crop_and_resize":
        site.refuse("a region of interest along some axes came with opset 18")
    scales, sizes = _scales(site), _sizes(site)
    if site.target <= 10:
        return _to_corner_form(site, scales, coordinates)
    roi: Source = site.input(1)
    if site.target < 13:
        roi = roi if roi is not None else np.zeros(0, dtype=np.float32)
        scales = scales if scales is not None else np.zeros(0, dtype=np.float32)
    newer = ("antialias", "axes", "keep_aspect_ratio_policy")
    given = {name: a for name, a in site.node.attributes.items() if name not in newer}
    return [site.emit("Resize", site.x(), roi, scales, sizes, **given)]


def _without_empty_inputs(site: RewriteSite, coordinates: str) -> SketchedValues:
    """Leave out what opset 11 had to have: a region that is not looked at, scales where there are sizes."""
    roi = site.input(1) if coordinates == "tf_crop_and_resize" else None
    sizes = site.input(3)
    scales = site.input(2) if sizes is None else None
    return [site.emit("Resize", site.x(), roi, scales, sizes, **site.node.attributes)]


def _scales(site: RewriteSite) -> Array | ir.Value | None:
    """Return the scales of all axes, None where sizes are given in their place."""
    return _of_all_axes(site, site.input(2), "scales input", np.ones)


def _sizes(site: RewriteSite) -> Array | ir.Value | None:
    """Return the sizes of all axes, None where scales are given in their place."""

    def present(rank: int, dtype: np.dtype[np.int64]) -> Array:
        dims = site.dims(site.x())
        if dims is None or any(dim is None for i, dim in enumerate(dims) if i not in _axes(site, rank)):
            site.refuse("it gives the sizes of some axes, which came with opset 18, and the others are not fixed")
        return np.array([0 if dim is None else dim for dim in dims], dtype=dtype)

    return _of_all_axes(site, site.input(3), "sizes input", present)


def _axes(site: RewriteSite, rank: int) -> list[int]:
    return [axis % rank for axis in site.attribute("axes")]


def _of_all_axes(site: RewriteSite, value: ir.Value | None, what: str, others: object) -> Array | ir.Value | None:
    if value is None or site.attribute("axes") is None:
        return value
    given = site.constant(value, what)
    if given.size == 0:
        return value
    assert callable(others)
    rank = site.rank(site.x())
    full: Array = others(rank, given.dtype)
    full[_axes(site, rank)] = given
    return full


def _from_corner_form(site: RewriteSite) -> SketchedValues:
    x, scales, mode = site.x(), site.input(1), site.attribute("mode", "nearest")
    if scales is None:
        site.refuse("it has no scales")
    if site.target <= 10:
        return [site.emit("Upsample" if site.target < 10 else "Resize", x, scales, mode=mode)]
    _require_enlarging(site, scales)
    return [
        site.emit(
            "Resize",
            x,
            np.zeros(0, dtype=np.float32),
            scales,
            mode=mode,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor" if mode == "nearest" else None,
        )
    ]


def _to_corner_form(site: RewriteSite, scales: Array | ir.Value | None, coordinates: str) -> SketchedValues:
    mode = site.attribute("mode", "nearest")
    if mode == "cubic":
        site.refuse("mode 'cubic' came with opset 11")
    if coordinates != "asymmetric":
        site.refuse(f"the coordinates {coordinates!r} came with opset 11")
    if mode == "nearest" and site.attribute("nearest_mode", "round_prefer_floor") != "floor":
        site.refuse("a nearest_mode other than 'floor' came with opset 11")
    if scales is None or site.input(3) is not None:
        site.refuse("a size in place of scales came with opset 11")
    if site.attribute("exclude_outside", 0):
        site.refuse("exclude_outside came with opset 11")
    _require_enlarging(site, scales)
    return [site.emit("Upsample" if site.target < 10 else "Resize", site.x(), scales, mode=mode)]


def _require_enlarging(site: RewriteSite, scales: Array | ir.Value) -> None:
    """Refuse to cross opset 11 when making smaller: runtimes differ in what the older form meant by it."""
    values = site.constant(scales, "scales input") if isinstance(scales, ir.Value) else scales
    if (values < 1).any():
        site.refuse("it makes smaller, and what opset 10 meant by that is not laid down")


def grid_sample(site: RewriteSite) -> SketchedValues:
    """Carry GridSample, whose modes have two sets of names."""
    if site.target < 16 or (site.source < 20) == (site.target < 20):
        return site.keep()
    names = {"bilinear": "linear", "bicubic": "cubic"}
    if site.target < 20:
        if site.rank(site.x()) != 4:
            site.refuse("volumes came with opset 20")
        names = {new: old for old, new in names.items()}
    mode = site.attribute("mode", "bilinear" if site.source < 20 else "linear")
    given = {name: a for name, a in site.node.attributes.items() if name != "mode"}
    return [site.emit("GridSample", site.x(), site.input(1), mode=names.get(mode, mode), **given)]


RULES: dict[str, Rule] = {"GridSample": grid_sample, "Resize": resize, "Upsample": resize}
