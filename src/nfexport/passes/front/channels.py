"""Reverse the channel order of the input, so that the file accepts BGR images.

As a node, this is a Gather along axis 1 with the indices 2, 1, 0. With `fold=True` the constants between the input
and the first convolutions are permuted instead, so that no node is needed and no number changes.

k in the formula is a Sub, Add, Div or Mul per channel, such as a mean that stays in front. Folding is refused if any
other operator reads the image, and for grouped convolutions, whose input channels cannot be permuted. Applying the
pass twice undoes it; the recipe records the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import ir, np
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.front.preprocessing.first_convolutions import Branch, first_convolutions, per_channel_nodes
from nfexport.passes.front.preprocessing.graph_head import Head, find_head, put_in_front
from nfexport.passes.front.preprocessing.padding import fill_value
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome

AS_NODE = "swap the channels by a node in front (fold=False)"
BGR = (2, 1, 0)


class SwapChannels(Pass):
    """Reverse the channel order of the input, so that the file accepts BGR images.

    Raises PassError, and leaves the model unchanged, if there are not three channels or the fold is not exact."""

    name = "channels"
    stage, after = Stage.FRONT, ("normalize",)
    options = (
        Option(
            flag="--channels",
            kind="choice",
            choices=("rgb", "bgr"),
            help="Channel order of the input images.",
            section="Preprocessing",
        ),
    )
    changes = Changes.INTERFACE
    already = "swaps the channels"
    formula = (
        "order bgr:  x'[:, c] = x[:, 2 − c],  c = 0, 1, 2        in front of all else that happens to the image\n"
        "Conv(k ∘ x', w) = Conv(k' ∘ x, w'),     w'[o,i] = w[o,2−i],     k'[i] = k[2−i]"
    )

    order: Literal["bgr"]
    fold: bool | Literal["auto"] = False

    @classmethod
    def asked(cls, request: Request) -> SwapChannels | None:
        """Fold where that is exact, unless nodes in front normalise: a node that swaps keeps their order readable."""
        if request.get("channels") != "bgr":
            return None
        normalize = request.planned.get("normalize")
        return cls(order="bgr", fold="auto" if normalize is None or normalize.params["fold"] else False)

    def what_changes(self) -> Changes:
        """Folded, it changes weights too."""
        return self.changes | Changes.WEIGHTS if self.fold else self.changes

    def call(self, model: ir.Model) -> PassOutcome:
        """Swap in place; the graph's input keeps its name, type and shape. 'auto' folds where that is exact."""
        fold = self.fold
        if self.order != "bgr":
            raise PassError(
                f"'{self.order}' is not a channel order", fix="pass --channels bgr, or leave it out for rgb"
            )
        head = find_head(model)
        if head.channels != len(BGR):
            raise PassError(
                f"input '{head.entry.name}' has {head.channels} channels, and bgr is an order of three",
                fix="leave out --channels",
            )
        try:
            changed = _fold(model, head) if fold else [_gather(head)]
        except PassError:
            if fold != "auto":
                raise
            fold, changed = False, [_gather(head)]
        how = "constants permuted" if fold else "a Gather in front"
        return self.done(
            model,
            changed=len(changed),
            summary=f"the file takes {self.order.upper()}: {how}",
            facts={
                "order": self.order,
                "form": "fold" if fold else "nodes",
                "nodes": [str(node.name) for node in changed],
            },
        )


def _gather(head: Head) -> ir.Node:
    indices = edit.add_initializer(head.graph, "/preprocessing/channels", np.array(BGR, np.int64))
    return put_in_front(head, "Gather", [indices], {"axis": 1})


def _fold(model: ir.Model, head: Head) -> list[ir.Node]:
    elementwise, value = per_channel_nodes(head)
    branches = first_convolutions(head, value, fix=AS_NODE)
    for branch in branches:
        _check(branch, model.opset_imports.get("", 1))
    permuted = []
    for node in elementwise:
        index = next(i for i, source in enumerate(node.inputs) if edit.constant(source) is not None)
        array = edit.constant(node.inputs[index])
        assert array is not None
        if array.ndim >= 3 and array.shape[-3] == len(BGR):
            set_constant(head.graph, node, index, np.take(array, BGR, axis=-3))
            permuted.append(node)
    for branch in branches:
        set_constant(head.graph, branch.conv, 1, branch.weight[:, BGR])
        permuted.append(branch.conv)
    edit.remove_dead(model)
    return permuted


def _check(branch: Branch, opset: int) -> None:
    if branch.group != 1:
        raise PassError(f"the first convolution '{branch.conv.name}' is grouped", fix=AS_NODE)
    if branch.pad is not None:
        # refuses a Pad that could tell channels apart
        fill_value(branch.pad, opset, fix=AS_NODE)
