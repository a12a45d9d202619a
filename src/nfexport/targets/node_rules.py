"""Apply one rule of a table to one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nfexport.graph.recognisers import is_operator, is_training_batch_normalization
from nfexport.targets.table import Rule
from nfexport.targets.uses import Use


def problem_of(rule: Rule, use: Use) -> str | None:
    """Return what the target does not support in this node, None if the rule does not object to it."""
    if not is_operator(use.node, *rule.operators):
        return None
    if any(use.attribute(name) not in values for name, values in rule.only.items()):
        return None
    found = _found(rule, use)
    return found if found is None or rule.problem is None else rule.problem


def depends_on_constants(use: Use) -> bool:
    """Say whether the node's first input is constant: a weight that is computed, not a tensor of the image."""
    return bool(use.node.input) and use.scope.is_constant(use.node.input[0])


def _found(rule: Rule, use: Use) -> str | None:
    if rule.attribute is not None:
        return _attribute(rule, use, rule.attribute)
    if rule.constant:
        return _not_constant(rule.constant, use)
    if rule.input:
        return _not_constant(rule.input, use) or _value(rule, use)
    if rule.outputs is not None:
        used = sum(bool(name) for name in use.node.output)
        return f"{used} of its outputs are used; only {rule.outputs} is supported" if used > rule.outputs else None
    if rule.form == "training":
        return rule.problem if is_training_batch_normalization(use.node) else None
    if rule.form == "zero-padded":
        return rule.problem if _is_zero_padded(use) else None
    return rule.problem


def _attribute(rule: Rule, use: Use, name: str) -> str | None:
    if rule.absent:
        return f"it has {name}, which is not supported" if use.given(name) is not None else None
    value = use.attribute(name)
    if value is None:
        return None
    entries = value if isinstance(value, list) else [value]
    if rule.lengths and len(entries) not in rule.lengths:
        return f"{name} has {len(entries)} entries; only {_listed(rule.lengths)} are supported"
    for entry in entries:
        if (rule.allowed and entry not in rule.allowed) or entry in rule.refused:
            limit = f"; only {_listed(rule.allowed)} is supported" if rule.allowed else " is not supported"
            return f"{name} = {value}{limit}"
    return None


def _not_constant(inputs: Mapping[str, int], use: Use) -> str | None:
    for name, position in inputs.items():
        given = use.input(position)
        if given and not use.scope.is_constant(given):
            return f"its input {name} ('{given}') is computed at run time, and has to be constant"
    return None


def _value(rule: Rule, use: Use) -> str | None:
    ((name, position),) = rule.input.items()
    array = use.scope.value(use.input(position)) if use.input(position) else None
    if array is None:
        return None
    for entry in np.unique(array).tolist():
        if rule.values and entry not in rule.values:
            return f"its input {name} holds {entry}; only {_listed(rule.values)} is supported"
        if rule.maximum is not None and entry > rule.maximum:
            return f"its input {name} holds {entry}; at most {rule.maximum} is supported"
    return None


def _is_zero_padded(use: Use) -> bool:
    """Say whether the node is the only reader of a Pad that puts zeros around the height and width of its input.

    ONNX Runtime's optimiser joins the two only then, as running it shows: not if something else reads the Pad,
    nor with the input axes, nor over batch or channels, nor if it crops. Pads whose values are not in the file
    count as such."""
    pad = use.scope.producer(use.input(0))
    if pad is None or not is_operator(pad, "Pad"):
        return False
    inner = Use(node=pad, opset=use.opset, scope=use.scope)
    if use.scope.readers(use.input(0)) > 1 or inner.input(3) or inner.attribute("mode") not in ("constant", None):
        return False
    if any(inner.input(n) and not use.scope.is_constant(inner.input(n)) for n in (1, 2)):
        return False
    value = use.scope.value(inner.input(2)) if inner.input(2) else inner.given("value")
    if value is not None and np.any(np.asarray(value) != 0):
        return False
    pads = use.scope.value(inner.input(1)) if inner.input(1) else inner.given("pads")
    if pads is None:
        return True
    around = np.asarray(pads).reshape(2, -1)
    return bool(np.all(around >= 0) and not around[:, :2].any() and around[:, 2:].any())


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(str(value) for value in values)
