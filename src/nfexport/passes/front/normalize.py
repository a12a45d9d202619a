"""Normalise the input inside the graph, as nodes or folded into the first convolution.

mean and std are in units of 0..1: r is 1 for pixels in 0..1, and 255 for 0..255. With mean 0 and std 1 this
is the division by r alone. As nodes: Sub, then Div, each left out where it does nothing. Div rather than Mul
by the reciprocal: at r = 1 the result is that of torchvision's Normalize, bit by bit, and a deviation such as
127.5 is exact where its reciprocal is not. `fold=True` moves into the first convolutions what is exact there
(normalize_fold has the algebra); at most one node stays in front.

Computed in float64, rounded once. Refuses statistics that do not fit the input's channels, deviations that
are not positive, and, for folding, an image that anything but convolutions with constant weights reads. Applying the
pass twice normalises twice; the recipe records whether it has been applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nfexport.errors import PassError, RecipeError
from nfexport.graph import edit
from nfexport.graph.constants import round_once
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.front.preprocessing.graph_head import Head, find_head, put_in_front
from nfexport.passes.front.preprocessing.normalize_fold import plan_fold
from nfexport.passes.front.preprocessing.pixel_range import pixel_range
from nfexport.recipe.option import Option
from nfexport.recipe.statistics import BYTE
from nfexport.recipe.validation import Above0, Finite

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class Normalize(Pass):
    """Normalise the input inside the graph, as nodes or folded into the first convolution.

    Raises PassError, and leaves the model unchanged, if the statistics do not fit or folding is not exact."""

    name = "normalize"
    stage = Stage.FRONT
    options = (
        Option(
            flag="--normalize",
            kind="choice",
            choices=("nodes", "fold"),
            bare="nodes",
            help="Normalise inside the graph: as nodes in front, or folded into the first convolution.",
            section="Preprocessing",
        ),
        Option(
            flag="--input-range",
            kind="number",
            metavar="255|1",
            help="Largest value of a pixel.",
            default_text="255 for uint8, else 1",
            section="Preprocessing",
        ),
    )
    changes = Changes.INTERFACE
    already = "normalises its images"
    formula = (
        "x' = (x − r·mean) / (r·std)        per channel, in the model's channel order; r is the range of the pixels"
    )

    mean: tuple[Finite, ...]
    std: tuple[Above0, ...]
    value_range: Above0 = 1.0
    fold: bool = False

    @classmethod
    def asked(cls, request: Request) -> Normalize | None:
        """Normalise by the statistics of the network, or bring pixels in 0..255 to 0..1."""
        pixels, network = pixel_range(request), request.network
        form = request.get("normalize")
        if form is None:
            if request.get("input_range") != BYTE:
                return None
            count = request.channels or (len(network.mean) if network is not None else 3)
            return cls(mean=(0.0,) * count, std=(1.0,) * count, value_range=BYTE)
        if network is None:
            raise RecipeError(
                "the mean and standard deviation to normalise with are unknown: the file has no recipe",
                fix="pass --mean and --std, such as --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
            )
        return cls(mean=network.mean, std=network.std, value_range=pixels, fold=form == "fold")

    def what_changes(self) -> Changes:
        """Folded, it changes weights too."""
        return self.changes | Changes.WEIGHTS if self.fold else self.changes

    def call(self, model: ir.Model) -> PassOutcome:
        """Normalise in place; the graph's input keeps its name, type and shape."""
        head = find_head(model)
        shift, scale = _statistics(self.mean, self.std, self.value_range, head.channels)
        facts: dict[str, Any] = {"subtracted": shift.tolist(), "divided_by": scale.tolist()}
        if self.fold:
            return self._fold(model, head, shift, scale, facts)
        mean_array, std_array = _constant(head, "mean", shift), _constant(head, "std", scale)
        nodes = []
        # what is put in front last is computed first
        if (scale != 1).any():
            nodes.append(_put_in_front(head, "Div", "std", std_array))
        if shift.any():
            nodes.append(_put_in_front(head, "Sub", "mean", mean_array))
        nodes.reverse()
        return self.done(
            model,
            changed=len(nodes),
            summary=f"normalised by {' and '.join(n.op_type for n in nodes)}" if nodes else "nothing to normalise",
            facts={**facts, "form": "nodes", "nodes": [str(node.name) for node in nodes]},
        )

    def _fold(self, model: ir.Model, head: Head, shift: Array, scale: Array, facts: dict[str, Any]) -> PassOutcome:
        plan = plan_fold(model, head, shift, scale)
        mean_array = _constant(head, "mean", plan.kept_mean)
        front = [_put_in_front(head, "Sub", "mean", mean_array)] if plan.kept_mean.any() else []
        front.extend(plan.write())
        edit.remove_dead(model)
        names = [str(target.branch.conv.name) for target in plan.targets]
        place = f"the convolution{'s' * (len(names) > 1)} {', '.join(names)}"
        stays = f"; {front[0].name} stays in front" if front else ""
        return self.done(
            model,
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
    """Return [1, C, 1, 1], each number rounded to the image's type, none of them lost."""
    rounded = [round_once(number, head.dtype, f"the {what} {float(number)}") for number in exact]
    return np.array(rounded).reshape(1, -1, 1, 1)


def _put_in_front(head: Head, op_type: str, what: str, array: Array) -> ir.Node:
    return put_in_front(head, op_type, [edit.add_initializer(head.graph, f"/preprocessing/{what}", array)])
