"""Take pixels as they are, and normalise them inside the graph.

    x' = (x − r·mean) / (r·std)        per channel, in the model's channel order; r is the range of the pixels

mean and std are in units of 0..1: r is 1 for pixels in 0..1, and 255 for 0..255. With mean 0 and std 1 this
is the division by r alone. As nodes: Sub, then Div, each left out where it does nothing. Div rather than Mul
by the reciprocal: at r = 1 the result is that of torchvision's Normalize, bit by bit, and a deviation such as
127.5 is exact where its reciprocal is not. `fold=True` moves into the first convolutions what is exact there
(normalize_fold has the algebra); at most one node stays in front.

Computed in float64, rounded once. Refuses statistics that do not fit the input's channels, deviations that
are not positive, and, for folding, a picture that something other than convolutions with constant weights
reads. Applied twice it normalises twice: the recipe of a file knows whether it has been.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import round_once
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.front.preprocessing.graph_head import Head, find_head, put_in_front
from nfexport.passes.front.preprocessing.normalize_fold import plan_fold
from nfexport.passes.report import PassReport

NAME = "normalize"


def apply(
    model: ir.Model, *, mean: Sequence[float], std: Sequence[float], value_range: float = 1.0, fold: bool = False
) -> PassReport:
    """Normalise in place; the graph's input keeps its name, type and shape.

    Raises PassError, and leaves the model as it was, if the statistics do not fit or folding is not exact."""
    head = find_head(model)
    shift, scale = _statistics(mean, std, value_range, head.channels)
    facts: dict[str, Any] = {"subtracted": shift.tolist(), "divided_by": scale.tolist()}
    if fold:
        return _fold(model, head, shift, scale, facts)
    mean_array, std_array = _constant(head, "mean", shift), _constant(head, "std", scale)
    nodes = []
    # what is put in front last is computed first
    if (scale != 1).any():
        nodes.append(_put_in_front(head, "Div", "std", std_array))
    if shift.any():
        nodes.append(_put_in_front(head, "Sub", "mean", mean_array))
    nodes.reverse()
    return PassReport(
        name=NAME,
        changed=len(nodes),
        summary=f"normalised by {' and '.join(n.op_type for n in nodes)}" if nodes else "nothing to normalise",
        facts={**facts, "form": "nodes", "nodes": [str(node.name) for node in nodes]},
    )


def _fold(model: ir.Model, head: Head, shift: Array, scale: Array, facts: dict[str, Any]) -> PassReport:
    plan = plan_fold(model, head, shift, scale)
    mean_array = _constant(head, "mean", plan.kept_mean)
    front = [_put_in_front(head, "Sub", "mean", mean_array)] if plan.kept_mean.any() else []
    front.extend(plan.write())
    edit.remove_dead(model)
    names = [str(target.branch.conv.name) for target in plan.targets]
    place = f"the convolution{'s' * (len(names) > 1)} {', '.join(names)}"
    stays = f"; {front[0].name} stays in front" if front else ""
    return PassReport(
        name=NAME,
        changed=len(names),
        summary=f"normalisation folded into {place}{stays}",
        facts={
            **facts,
            "form": plan.form,
            "nodes": [str(node.name) for node in front],
            "convolutions": names,
            "largest_weight_error": max(target.error for target in plan.targets),
        },
    )


def _statistics(
    mean: Sequence[float], std: Sequence[float], value_range: float, channels: int
) -> tuple[Array, Array]:
    """Return mean and std per channel, in units of the pixels."""
    for what, numbers in (("mean", mean), ("standard deviation", std)):
        if len(numbers) != channels:
            raise PassError(
                f"the {what} has {len(numbers)} numbers, and the input has {channels} channels",
                fix="pass one number per channel to --mean and to --std",
            )
        if not np.isfinite(numbers).all():
            raise PassError(f"the {what} {tuple(numbers)} is not finite", fix="pass finite numbers")
    if min(std) <= 0:
        raise PassError(f"the standard deviation {tuple(std)} is not positive", fix="pass numbers above 0 to --std")
    if not (np.isfinite(value_range) and value_range > 0):
        raise PassError(f"pixels cannot range from 0 to {value_range}", fix="pass --input-range 255 or 1")
    return np.array(mean, np.float64) * value_range, np.array(std, np.float64) * value_range


def _constant(head: Head, what: str, exact: Array) -> Array:
    """Return [1, C, 1, 1], each number rounded to the picture's type, none of them lost."""
    rounded = [round_once(number, head.dtype, f"the {what} {float(number)}") for number in exact]
    return np.array(rounded).reshape(1, -1, 1, 1)


def _put_in_front(head: Head, op_type: str, what: str, array: Array) -> ir.Node:
    return put_in_front(head, op_type, [edit.add_initializer(head.graph, f"/preprocessing/{what}", array)])
