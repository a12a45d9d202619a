"""A graph pass: put an upper limit on every Relu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    import onnx_ir as ir

    from nfexport.passes.result import PassOutcome


class LimitRelu(Pass):
    """Put an upper limit on the result of every Relu."""

    name = "limit-relu"
    stage = Stage.REWRITES
    options = (
        Option(
            flag="--limit-relu",
            kind="number",
            metavar="LIMIT",
            help="Put an upper limit on the result of every Relu.",
        ),
    )
    changes = Changes.NUMBERS
    formula = "Relu(x) → Min(Relu(x), limit)"

    limit: Annotated[float, msgspec.Meta(gt=0)]

    @classmethod
    def asked(cls, request: Request) -> LimitRelu | None:
        """Return the pass if --limit-relu was given."""
        limit = request.get("limit_relu")
        return None if limit is None else cls(limit=limit)

    def call(self, model: ir.Model) -> PassOutcome:
        """Add a Min behind each Relu."""
        import numpy as np
        import onnx_ir as ir

        from nfexport.graph import edit

        graph = model.graph
        found = [node for node in graph if node.op_type == "Relu"]
        for node in found:
            value = node.outputs[0]
            limit = edit.add_initializer(graph, f"{node.name}/limit", np.array(self.limit, np.float32))
            limited = ir.node("Min", [value, limit], name=f"{node.name}/limited")
            limited.outputs[0].type, limited.outputs[0].shape = value.type, value.shape
            readers = [use for use in value.uses() if use.node is not limited]
            graph.insert_after(node, limited)
            for use in readers:
                use.node.replace_input_with(use.idx, limited.outputs[0])
        return self.rewrote(model, [str(node.name) for node in found], "Relu nodes limited")
