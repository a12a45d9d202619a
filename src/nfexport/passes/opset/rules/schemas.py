"""What an operator may look like at an opset, by the schemas of the installed onnx."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from nfexport.graph.libraries import ir, onnx


@functools.cache
def newest() -> int:
    """Return the newest opset that the installed onnx knows."""
    return int(onnx.defs.onnx_opset_version())


class CannotCarry(Exception):  # noqa: N818 (an answer within this package; the pass turns it into a PassError)
    """A node that has no form at the opset asked for; the message is the reason."""


@functools.cache
def schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the form that an operator has at this opset; None where there is none, or no longer one."""
    try:
        found = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated else found


@functools.cache
def since(op_type: str, opset: int) -> int | None:
    """Return the version of the operator that is in force at this opset."""
    found = schema(op_type, opset)
    return None if found is None else found.since_version


def require_fit(
    op_type: str,
    opset: int,
    *,
    inputs: Sequence[ir.DataType | None],
    present: Sequence[bool],
    attributes: Collection[str],
    outputs: Sequence[ir.DataType | None],
) -> None:
    """Check a node against its schema at the opset: counts, attribute names and element types.

    inputs and outputs are the element types, None where unknown or no tensor; present tells a given input
    from an omitted one. Raises CannotCarry with the first thing that does not fit.
    """
    form = schema(op_type, opset)
    if form is None:
        raise CannotCarry(f"opset {opset} has no operator {op_type}")
    for name in attributes:
        if name not in form.attributes:
            raise CannotCarry(f"{op_type} has no attribute {name!r} at opset {opset}")
    if not form.min_input <= len(inputs) <= form.max_input:
        raise CannotCarry(
            f"{op_type} takes {_count(form.min_input, form.max_input)} at opset {opset}, not {len(inputs)}"
        )
    if not form.min_output <= len(outputs) <= form.max_output:
        raise CannotCarry(f"{op_type} has no {len(outputs)} outputs at opset {opset}")
    for i, given in enumerate(present):
        formal = form.inputs[min(i, len(form.inputs) - 1)]
        if not given and formal.option == onnx.defs.OpSchema.FormalParameterOption.Single:
            raise CannotCarry(f"{op_type} needs its input {formal.name!r} at opset {opset}")
    _require_types(form, opset, inputs, outputs)


def inferred_outputs(
    op_type: str, opset: int, inputs: Sequence[ir.DataType | None], count: int
) -> list[ir.DataType | None]:
    """Return the element types that follow from the schema and the inputs', None where they do not."""
    form = schema(op_type, opset)
    if form is None:
        return [None] * count
    bound: dict[str, ir.DataType | None] = {}
    for i, dtype in enumerate(inputs):
        bound.setdefault(form.inputs[min(i, len(form.inputs) - 1)].type_str, dtype)
    for constraint in form.type_constraints:
        if len(constraint.allowed_type_strs) == 1:
            bound.setdefault(constraint.type_param_str, _dtype_of(constraint.allowed_type_strs[0]))
    formals = [form.outputs[min(i, len(form.outputs) - 1)].type_str for i in range(count)]
    return [bound[name] if name in bound else _dtype_of(name) for name in formals]


def _dtype_of(type_str: str) -> ir.DataType | None:
    """Read 'tensor(int64)'; None for a type parameter and for anything that is not a tensor."""
    word = type_str.removeprefix("tensor(").removesuffix(")").upper()
    return ir.DataType[word] if word in ir.DataType.__members__ else None


def _require_types(
    form: onnx.defs.OpSchema,
    opset: int,
    inputs: Sequence[ir.DataType | None],
    outputs: Sequence[ir.DataType | None],
) -> None:
    allowed = {c.type_param_str: frozenset(c.allowed_type_strs) for c in form.type_constraints}
    bound: dict[str, str] = {}
    for what, formals, dtypes in (("input", form.inputs, inputs), ("output", form.outputs, outputs)):
        for i, dtype in enumerate(dtypes):
            if dtype is None:
                continue
            formal = formals[min(i, len(formals) - 1)]
            word = dtype.name.lower()
            if f"tensor({word})" not in allowed.get(formal.type_str, {formal.type_str}):
                raise CannotCarry(
                    f"{form.name} takes no {word} tensor as its {what} {formal.name!r} at opset {opset}"
                )
            if formal.type_str in allowed and formal.is_homogeneous:
                other = bound.setdefault(formal.type_str, word)
                if other != word:
                    raise CannotCarry(
                        f"{form.name} takes no {other} tensor together with a {word} one at opset {opset}"
                    )


def _count(least: int, most: int) -> str:
    return f"{least} inputs" if least == most else f"{least} to {most} inputs"
