"""Resize and crop the input inside the graph, as timm's evaluation transform does.

R and C are Pillow's weights (resampling has the formula). For images of one fixed size they are two
constant matrices, cut to the rows and columns that the crop leaves, in Pillow's order of the axes: at every
opset. For any size they are two Resize, the width first, with antialias=1, exclude_outside=1,
cubic_coeff_a=−0.5, with sizes computed as integers in the graph; this requires opset 18, which added antialias.
Pixels in 0..1 are scaled to 0..255 and back.

Refused: an interpolation other than bicubic or bilinear, the crop mode 'border', a crop that is not square, a network
without a fixed size, any size below opset 18, and a graph that already casts, transposes or resizes its input.
OpenVINO's CPU plug-in ignores antialias in cubic mode: use the fixed form there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nfexport.errors import PassError, RecipeError
from nfexport.graph import edit
from nfexport.graph.constants import free_name
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.front.preprocessing import resampling
from nfexport.passes.front.preprocessing.graph_head import Head, find_head
from nfexport.passes.front.preprocessing.pixel_range import pixel_range
from nfexport.passes.opset.convert_opset import ConvertOpset
from nfexport.recipe.option import Option
from nfexport.recipe.recipe import CropMode, Interpolation
from nfexport.recipe.statistics import BYTE
from nfexport.recipe.validation import Above0, Pixels

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


ANTIALIAS_FROM = 18
PREFIX = "/preprocessing/resize"


class Resize(Pass):
    """Resize and crop the input inside the graph, as timm's evaluation transform does.

    value_range is the largest pixel value, opset that of the finished graph (None: the present one).
    Raises PassError, and leaves the model unchanged, if timm's transform cannot be reproduced exactly."""

    name = "resize"
    stage, after = Stage.FRONT, ("channels",)
    options = (
        Option(
            flag="--resize",
            kind="size",
            choices=("any",),
            bare="any",
            metavar="[HxW]",
            help="Accept images of any size, or of HxW, and do timm's resize and crop in the graph (uint8 NHWC).",
            section="Preprocessing",
        ),
    )
    changes = Changes.INTERFACE
    already = "resizes its images"
    formula = "y = crop(bytes(R · bytes(x · Cᵀ))),   bytes(v) = min(max(⌊v + ½⌋, 0), 255)"

    crop_pct: Above0
    crop_mode: CropMode
    interpolation: Interpolation
    value_range: Above0 = BYTE
    from_size: tuple[Pixels, Pixels] | None = None
    opset: int | None = None

    @classmethod
    def oldest_opset(cls, request: Request) -> int:
        """See Pass: images of any size need the Resize that smooths."""
        return ANTIALIAS_FROM if request.get("resize") == "any" else 1

    @classmethod
    def asked(cls, request: Request) -> Resize | None:
        """Resize and crop as the network's own preprocessing does."""
        size, network, opset = request.get("resize"), request.network, request.opset
        if size is None:
            return None
        if network is None or network.crop_mode == "none":
            raise RecipeError(
                "how the model's images are resized is unknown: the file has no recipe",
                fix="use --resize on a file that nfexport exported, or at export",
            )
        if size == "any" and opset is not None and opset < ANTIALIAS_FROM:
            raise RecipeError(
                f"images of any size cannot be resized at opset {opset}: Resize learned it at {ANTIALIAS_FROM}",
                fix=f"pass --opset {ANTIALIAS_FROM}, or a fixed size: --resize HxW",
            )
        fixed = (size, size) if isinstance(size, int) else size
        return cls(
            crop_pct=network.crop_pct,
            crop_mode=network.crop_mode,
            interpolation=network.interpolation,
            value_range=pixel_range(request),
            from_size=None if fixed == "any" else fixed,
            opset=opset,
        )

    def call(self, model: ir.Model) -> PassOutcome:
        """Resize in place; the input keeps its name and type, its height and width become those of from_size."""
        head = find_head(model)
        height, width = head.shape[2], head.shape[3]
        if not isinstance(height, int) or not isinstance(width, int):
            raise PassError("the network takes images of more than one size already", fix="leave out --resize")
        if head.form:
            raise PassError(
                f"input '{head.entry.name}' already goes through node '{head.form[0].name}' ({head.form[0].op_type})",
                fix="start from the file in which the network takes the image as it is",
            )
        present = model.opset_imports.get("", 1)
        final = self.opset if self.opset is not None else present
        size = (height, width)
        target = resampling.target_size(size, self.crop_pct, self.crop_mode)
        if self.from_size is None and final < ANTIALIAS_FROM:
            raise PassError(
                f"images of any size cannot be resized at opset {final}: Resize learned it at {ANTIALIAS_FROM}",
                fix=f"pass --opset {ANTIALIAS_FROM}, or a fixed size: --resize HxW",
            )
        resampling.weights(2, 2, self.interpolation)  # refuses an unknown filter before anything is changed
        if self.from_size is None and present < ANTIALIAS_FROM:
            ConvertOpset(opset=ANTIALIAS_FROM).apply(model)
            head = find_head(model)
        build = _Builder(head)
        readers = list(head.image.uses())
        value = head.image
        if self.value_range != BYTE:
            value = build.node("Mul", value, build.number(BYTE / self.value_range))
        if self.from_size is None:
            value = _any_size(build, value, size, target, self.crop_mode, self.interpolation)
            dims: tuple[Any, Any] = ("height", "width")
        else:
            dims = (int(self.from_size[0]), int(self.from_size[1]))
            form = resampling.geometry(dims, size, self.crop_pct, self.crop_mode)
            rows, columns = resampling.matrices(dims, form, self.interpolation)
            value = _fixed_size(build, value, rows, columns, resampling.height_first(dims, form.resized))
        if self.value_range != BYTE:
            value = build.node("Div", value, build.number(BYTE / self.value_range))
        value.shape = ir.Shape(head.shape)
        head.entry.shape = ir.Shape([head.shape[0], head.channels, *dims])
        for reader in readers:
            reader.node.replace_input_with(reader.idx, value)
        what = "any size" if self.from_size is None else f"{dims[0]}×{dims[1]}"
        return self.done(
            model,
            changed=len(build.nodes),
            summary=f"takes images of {what}, resized ({self.interpolation}) and cropped to {height}×{width}",
            facts={
                "form": "Resize" if self.from_size is None else "matrices",
                "nodes": [str(n.name) for n in build.nodes],
            },
        )


class _Builder:
    """Adds nodes in front of the readers of the image, in the order of their calls."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._first = head.graph[0]
        self.nodes: list[ir.Node] = []

    def node(
        self, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType | None = None, **attributes: Any
    ) -> ir.Value:
        """Add a node with one output, of the image's element type unless told otherwise."""
        name = free_name(self._head.graph, f"{PREFIX}/{op_type}")
        node = ir.node(op_type, inputs, attributes, name=name)
        output = node.outputs[0]
        output.name = f"{name}_output"
        output.type = ir.TensorType(dtype or self._head.dtype)
        self._head.graph.insert_before(self._first, node)
        self.nodes.append(node)
        return output

    def number(self, value: float) -> ir.Value:
        return self.array(np.array(value, self._head.dtype.numpy()), "number")

    def array(self, array: Array, name: str) -> ir.Value:
        return edit.add_initializer(self._head.graph, f"{PREFIX}/{name}", array)

    def floats(self, array: Array, name: str) -> ir.Value:
        return self.array(array.astype(self._head.dtype.numpy()), name)

    def ints(self, *values: int) -> ir.Value:
        return self.array(np.array(values, np.int64), "ints")

    def whole(self, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """Add a node that gives int64."""
        return self.node(op_type, *inputs, dtype=ir.DataType.INT64, **attributes)

    def bytes(self, value: ir.Value) -> ir.Value:
        """min(max(⌊v + ½⌋, 0), 255), by operators that all opsets have."""
        whole = self.node("Floor", self.node("Add", value, self.number(0.5)))
        return self.node("Min", self.node("Max", whole, self.number(0.0)), self.number(BYTE))


def _fixed_size(
    build: _Builder,
    value: ir.Value,
    rows: Array,
    columns: Array,
    height_first: bool,
) -> ir.Value:
    def across(value: ir.Value) -> ir.Value:
        return build.bytes(build.node("MatMul", value, build.floats(columns.T, "columns")))

    def down(value: ir.Value) -> ir.Value:
        return build.bytes(build.node("MatMul", build.floats(rows, "rows"), value))

    return across(down(value)) if height_first else down(across(value))


def _any_size(
    build: _Builder,
    value: ir.Value,
    size: tuple[int, int],
    target: tuple[int, int],
    crop_mode: str,
    interpolation: str,
) -> ir.Value:
    image = build.whole("Slice", build.whole("Shape", value), build.ints(2), build.ints(4))
    if crop_mode == "center":
        # the shorter side becomes the target, the longer one follows: whole numbers, rounded down
        shorter = build.whole("ReduceMin", image, keepdims=1)
        resized = build.whole("Div", build.whole("Mul", image, build.ints(target[0])), shorter)
    else:
        resized = build.ints(*target)
    attributes: dict[str, Any] = {
        "mode": "cubic" if interpolation == "bicubic" else "linear",
        "antialias": 1,
        "exclude_outside": 1,
        "coordinate_transformation_mode": "half_pixel",
    }
    if interpolation == "bicubic":
        attributes["cubic_coeff_a"] = resampling.CUBIC
    ends = build.whole("Slice", build.whole("Shape", value), build.ints(0), build.ints(2))
    height = build.whole("Slice", image, build.ints(0), build.ints(1))
    wide = build.whole("Slice", resized, build.ints(1), build.ints(2))
    across = build.whole("Concat", ends, height, wide, axis=0)
    value = build.bytes(build.node("Resize", value, None, None, across, **attributes))
    value = build.bytes(
        build.node("Resize", value, None, None, build.whole("Concat", ends, resized, axis=0), **attributes)
    )
    # half of the spare, half to even: q + r·(q mod 2) with spare = 2q + r
    spare = build.whole("Sub", resized, build.ints(*size))
    half = build.whole("Div", spare, build.ints(2))
    odd = build.whole("Sub", spare, build.whole("Mul", half, build.ints(2)))
    even = build.whole("Sub", half, build.whole("Mul", build.whole("Div", half, build.ints(2)), build.ints(2)))
    corner = build.whole("Add", half, build.whole("Mul", odd, even))
    end = build.whole("Add", corner, build.ints(*size))
    return build.node("Slice", value, corner, end, build.ints(2, 3))
