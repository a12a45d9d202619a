"""Where a file leaves its PyTorch model: the first node whose error its inputs do not explain.

Every tensor of the file is looked for among the steps of the model (step_matches.py). Downstream of a
fault no tensor is found, or only those on branches that the fault does not reach. So the fault is at a node

    whose inputs are right, whose output is not, and from which no path leads to a tensor that is right;

the last, because a runtime's formula for one function of PyTorch may have steps that PyTorch never computes. A
fault in a weight may be too small to show at its node, and add up later: so if an earlier node reads a weight that
is known not to be the model's, that node is at fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from onnx import numpy_helper

from nfexport.graph.recognisers import label
from nfexport.verification.diagnosis.file_tensors import Tensors
from nfexport.verification.diagnosis.step_matches import DIFFERS, NOWHERE, SAME, SCALED, Match, Steps

NEAR = 0.05
"""Largest error, of a step's range, up to which a tensor counts as that step, computed wrongly."""

MOVING = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Expand"})
"""Operators that do not change numbers."""

MOST_BEFORE = 6
"""Nodes that are looked at in front of the culprit, on each path that leads to it."""

SIZES = frozenset({"Shape", "Size"})
"""Operators that read only sizes: what follows from a size says nothing about the tensor."""

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located:
    """One output of a node: where it comes from, and which step of the model it is.

    match.how is 'same', 'scaled' (a multiple of the step) or 'differs'; reached says whether a tensor that is
    right follows from it. position is the node's place in the file; inputs are the names of what it reads."""

    position: int
    node: str
    operator: str
    tensor: str
    shape: tuple[int, ...]
    match: Match
    reached: bool
    inputs: tuple[str, ...]

    @property
    def module(self) -> str:
        """The path of the module that the step belongs to, or of the one that the node's name tells."""
        if self.match.how != DIFFERS and self.match.step is not None and self.match.step.module:
            return self.match.step.module
        return self.node.strip("/").rpartition("/")[0].replace("/", ".")

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON; an error that is not finite is None."""
        finite = bool(np.isfinite(self.match.excess))
        step = self.match.step
        return {
            "node": self.node,
            "operator": self.operator,
            "tensor": self.tensor,
            "shape": list(self.shape),
            "module": self.module,
            "module_class": "" if step is None else step.module_class,
            "function": "" if step is None else step.function,
            "how": self.match.how,
            "relative_error": self.match.relative if finite else None,
            "excess": self.match.excess if finite else None,
        }


def locate(
    tensors: Tensors, steps: Steps, *, foreign: Set[str] = frozenset()
) -> tuple[list[Located], Located | None]:
    """Return every floating tensor that a node gives, in the file's order, and the first at fault.

    foreign are initializers that are known not to be the model's."""
    matches = _matches(tensors, steps)
    good = {name for name, match in matches.items() if match.how != DIFFERS}
    reached = _leads_to(tensors, {name for name, match in matches.items() if match.how == SAME})
    found = [
        Located(
            position=index,
            node=label(node),
            operator=node.op_type,
            tensor=name,
            shape=tensors.values[name].shape,
            match=matches[name],
            reached=name in reached,
            inputs=tuple(node.input),
        )
        for index, node in enumerate(tensors.nodes)
        for name in node.output
        if name in matches
    ]
    culprit = _culprit(found, matches, good, reached)
    culprit = culprit and (_idle(culprit, found, tensors) or culprit)
    return found, _first_that_reads(foreign, found, culprit) or culprit


def _culprit(
    found: Sequence[Located], matches: Mapping[str, Match], good: set[str], reached: set[str]
) -> Located | None:
    def right(name: str) -> bool:
        return name not in matches or name in good or name in reached

    for entry in found:
        lost = not right(entry.tensor) or _near_miss(entry.match)
        if lost and all(right(name) for name in entry.inputs):
            return entry
    # every tensor is a step or a multiple of one, but a multiple reaches the output
    for entry in found:
        if entry.match.how == SCALED and entry.tensor not in reached:
            return entry
    return None


def _near_miss(match: Match) -> bool:
    """Say whether a tensor is nearly a step, unlike the steps of a runtime's own formula.

    The effect of a small fault may fade, so that tensors further on are right again."""
    return match.how == DIFFERS and match.relative < NEAR


def _idle(culprit: Located, found: Sequence[Located], tensors: Tensors) -> Located | None:
    """Return the node shortly before the culprit that returns one of its inputs unchanged, as a missing gate does;
    None if there is none. Its output is a step of the model and looks right, but is in the wrong place."""
    by_tensor = {entry.tensor: entry for entry in found}
    for name in culprit.inputs:
        entry = by_tensor.get(name)
        for _ in range(MOST_BEFORE):
            if entry is None:
                break
            sources = [by_tensor[source] for source in entry.inputs if source in by_tensor]
            constants = [source for source in entry.inputs if source not in by_tensor]
            neutral = any(_is_neutral(source, tensors) for source in constants)
            if entry.operator in ARITHMETIC and not neutral and any(_equal(entry, source) for source in sources):
                return entry
            if entry.operator not in MOVING and not (entry.operator in ARITHMETIC and len(sources) == 1):
                break
            entry = sources[0] if sources else None
    return None


def _equal(one: Located, other: Located) -> bool:
    """Say whether two tensors are the same step."""
    steps = [entry.match.step for entry in (one, other) if entry.match.how == SAME]
    first, last = steps if len(steps) == 2 else (None, None)
    return first is not None and last is not None and np.array_equal(first.exact.reshape(-1), last.exact.reshape(-1))


def _is_neutral(name: str, tensors: Tensors) -> bool:
    """Say whether a tensor is all 0 or all 1, as the beta of a first block: its node rightly returns an input."""
    array = numpy_helper.to_array(tensors.weights[name]) if name in tensors.weights else tensors.values.get(name)
    return array is not None and bool((array == 1).all() or (array == 0).all())


def _first_that_reads(foreign: Set[str], found: Sequence[Located], before: Located | None) -> Located | None:
    """Return the first node that reads one of these initializers, if it stands before the other culprit."""
    first = next((entry for entry in found if not foreign.isdisjoint(entry.inputs)), None)
    return first if first is None or before is None or first.position < before.position else None


def _matches(tensors: Tensors, steps: Steps) -> dict[str, Match]:
    """Match every floating tensor that a node gives, weights that are standardised at run time too."""
    matches: dict[str, Match] = {}
    for node in tensors.nodes:
        for name in node.output:
            value: Any = tensors.values.get(name)
            if node.op_type == "Constant" or value is None or value.dtype.kind != "f":
                continue
            if value.ndim > 0 and value.size > 1:
                match = steps.match(value)
                if name in tensors.outputs and match.step is not None and match.step.inside:
                    # an output is never part of a function, such as a product before its bias is added
                    match = dataclasses.replace(match, how=DIFFERS)
                matches[name] = match
            elif not np.isfinite(value).all():
                matches[name] = NOWHERE
    return matches


def _leads_to(tensors: Tensors, right: set[str]) -> set[str]:
    """Return the tensors from which a path leads to one of those that are right."""
    reaching: set[str] = set()
    for node in reversed(tensors.nodes):
        if node.op_type not in SIZES and any(name in reaching or name in right for name in node.output):
            reaching.update(node.input)
    return reaching
