"""Change the element type and layout of the input, for example to uint8 NHWC.

The graph's input changes type and shape; its name and symbolic sizes stay. The Cast comes first: no
arithmetic may run on uint8, and TensorRT only allows a Cast to read a uint8 input. The Cast from uint8 or float16 to
float32 is exact. uint8 says nothing about the range; normalize divides by 255.

No effect if the network already takes that type and layout. Refuses a graph that already casts or transposes its
input, and so to be applied twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from nfexport.errors import PassError
from nfexport.graph.libraries import ir, np
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.front.preprocessing.graph_head import NCHW_TO_NHWC, NHWC_TO_NCHW, find_head, put_in_front
from nfexport.passes.front.preprocessing.pixel_range import PixelType, pixel_type
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome

Layout = Literal["nchw", "nhwc"]


class InputForm(Pass):
    """Change the element type and layout of the input, for example to uint8 NHWC.

    Raises PassError, and leaves the model unchanged, if the input already goes through a Cast or Transpose."""

    name = "input-form"
    stage, after = Stage.FRONT, ("resize",)
    options = (
        Option(
            flag="--input-dtype",
            kind="choice",
            choices=get_args(PixelType),
            help="Element type of the input.",
            default_text="float32, or uint8 with --resize",
            section="Preprocessing",
        ),
        Option(
            flag="--input-layout",
            kind="choice",
            choices=get_args(Layout),
            help="Layout of the input.",
            default_text="nchw, or nhwc with --resize",
            section="Preprocessing",
        ),
    )
    changes = Changes.INTERFACE
    already = "changes the form of its input"
    formula = "x' = Transpose(Cast(x))        Cast to the network's type, then [N, H, W, C] to [N, C, H, W]"

    dtype: PixelType = "float32"
    layout: Layout = "nchw"

    @classmethod
    def asked(cls, request: Request) -> InputForm | None:
        """Change the form of the input unless it is the network's own."""
        layout: Layout = request.get("input_layout") or ("nhwc" if request.get("resize") else "nchw")
        form = cls(dtype=pixel_type(request), layout=layout)
        return None if form == cls() else form

    def call(self, model: ir.Model) -> PassOutcome:
        """Change the input's form in place."""
        for value, known, what, flag in (
            (self.dtype, get_args(PixelType), "an element type for images", "--input-dtype"),
            (self.layout, get_args(Layout), "a layout", "--input-layout"),
        ):
            if value not in known:
                raise PassError(f"'{value}' is not {what}", fix=f"pass {flag} {' or '.join(known)}")
        head = find_head(model)
        if head.form:
            raise PassError(
                f"input '{head.entry.name}' already goes through node '{head.form[0].name}' ({head.form[0].op_type})",
                fix="start from the file in which the network takes the image as it is",
            )
        nodes = []
        # what is put in front last is computed first
        if self.layout == "nhwc":
            nodes.append(put_in_front(head, "Transpose", attributes={"perm": list(NHWC_TO_NCHW)}))
            head.entry.shape = ir.Shape([head.shape[axis] for axis in NCHW_TO_NHWC])
        taken = ir.DataType.from_numpy(np.dtype(self.dtype))
        if taken != head.dtype:
            nodes.append(put_in_front(head, "Cast", attributes={"to": int(head.dtype)}))
            nodes[-1].outputs[0].shape = head.entry.shape
            head.entry.type = ir.TensorType(taken)
        names = [str(node.name) for node in reversed(nodes)]
        return self.done(
            model,
            changed=len(nodes),
            summary=f"the file takes {self.dtype} {self.layout.upper()}"
            + (f", by {' and '.join(names)}" if names else ""),
            facts={"dtype": self.dtype, "layout": self.layout, "nodes": names},
        )
