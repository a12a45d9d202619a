"""Elementwise operators and constants whose inputs, attributes or types changed places.

Clip (11)              bounds: attributes before, inputs from then on; else Min(Max(x, low), high)
Dropout (12)           ratio: attribute before, input from then on; here it always lets all through
Constant (12)          a plain number in an attribute of its own; before, always a tensor
CastLike (15)          Cast to the other input's type
Cast (19, 24)          saturate and round_mode, which speak of eight-bit floats only
Pow (12)               an exponent of another type than the base
Gemm (11)              without C
Max, Min (12)          integers; before, Where(Greater(a, b), a, b)
GreaterOrEqual (12), LessOrEqual (12)    Or(Greater, Equal), which is false for NaN, as it should be
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source
from nfexport.passes.opset.rules.schemas import schema

SketchedValues = Sequence[SketchedValue | None]


def clip(site: RewriteSite) -> SketchedValues:
    """Carry Clip."""
    if site.source >= 11 and site.target >= 11:
        return site.keep()
    x = site.x()
    if site.target >= 11:
        low, high = (site.attribute(name) for name in ("min", "max"))
        return [site.emit("Clip", x, *(None if n is None else site.like(n, x) for n in (low, high)))]
    bounds = [site.input(1), site.input(2)]
    numbers = [_as_float(bound) for bound in bounds]
    if all(number is not None for number, bound in zip(numbers, bounds, strict=True) if bound is not None):
        return [site.emit("Clip", x, min=numbers[0], max=numbers[1])]
    result: Source = x
    for op_type, bound in zip(("Max", "Min"), bounds, strict=True):
        result = result if bound is None else site.emit(op_type, result, bound)
    assert isinstance(result, SketchedValue)
    return [result]


def _as_float(value: ir.Value | None) -> float | None:
    """Return a constant that an attribute, which is a float32, can hold exactly."""
    tensor = fixed_tensor(value)
    if tensor is None:
        return None
    number = float(tensor.numpy().item())
    return number if float(np.float32(number)) == number else None


def dropout(site: RewriteSite) -> SketchedValues:
    """Carry Dropout of an inference graph, which drops nothing."""
    if site.source >= 12 and site.target >= 12:
        return site.keep()
    training = site.input(2)
    if training is not None and site.constant(training, "training_mode").item():
        site.refuse("it drops at random (training_mode), which an inference graph does not")
    if site.reads_output(1):
        site.refuse(f"its mask is in use, and opset {site.target} has another one")
    x, idle = site.x(), [None] * (len(site.node.outputs) - 1)
    if site.target < 12:
        ratio = site.attribute("ratio") if site.source < 12 else _as_float(site.input(1))
        return [site.emit("Dropout", x, ratio=ratio), *idle]
    ratio = site.attribute("ratio")
    return [site.emit("Dropout", x, None if ratio is None else site.like(ratio, x)), *idle]


def constant(site: RewriteSite) -> SketchedValues:
    """Carry Constant; before opset 12 its number is a tensor."""
    numbers = [name for name in site.node.attributes if name.startswith("value_")]
    if site.target >= 12 or not numbers:
        return site.keep()
    tensor = ir.convenience.get_const_tensor(site.node.outputs[0])
    if tensor is None:
        site.refuse(f"its {numbers[0]} cannot be read")
    return [site.emit("Constant", value=ir.AttrTensor("value", tensor))]


def cast_like(site: RewriteSite) -> SketchedValues:
    """Carry CastLike."""
    model = site.input(1)
    if site.target >= 15 or model is None:
        return site.keep()
    return [site.emit("Cast", site.x(), to=int(site.dtype(model)))]


def cast(site: RewriteSite) -> SketchedValues:
    """Carry Cast; saturate and round_mode say something of eight-bit floats only, which opset 19 brought."""
    form = schema("Cast", site.target)
    assert form is not None
    if "FLOAT8" in ir.DataType(site.attribute("to")).name:
        return site.keep()
    return site.keep({name: a for name, a in site.node.attributes.items() if name in form.attributes})


def power(site: RewriteSite) -> SketchedValues:
    """Carry Pow; before opset 12 the exponent has the type of the base, so a constant one is converted."""
    x, exponent = site.x(), site.input(1)
    if site.target >= 12 or exponent is None or site.dtype(exponent) == site.dtype(x):
        return site.keep()
    values: Array = site.constant(exponent, "exponent, which is of another type,")
    return [site.emit("Pow", x, values.astype(site.dtype(x).numpy()))]


def gemm(site: RewriteSite) -> SketchedValues:
    """Carry Gemm; before opset 11 it adds something, if only 0."""
    if site.target >= 11 or site.input(2) is not None:
        return site.keep()
    x = site.x()
    zero = np.zeros(1, dtype=site.dtype(x).numpy())
    return [site.emit("Gemm", x, site.input(1), zero, **site.node.attributes)]


def extremum(site: RewriteSite) -> SketchedValues:
    """Carry Max and Min, which take integers from opset 12 on."""
    if site.target >= 12 or site.dtype(site.x()).is_floating_point():
        return site.keep()
    if len(site.node.inputs) == 1:
        return [site.emit("Identity", site.x())]
    result: Source = site.x()
    compare = "Greater" if site.node.op_type == "Max" else "Less"
    for value in site.node.inputs[1:]:
        result = site.emit("Where", site.emit(compare, result, value), result, value)
    assert isinstance(result, SketchedValue)
    return [result]


def or_equal(site: RewriteSite) -> SketchedValues:
    """Carry GreaterOrEqual and LessOrEqual."""
    if site.target >= 12:
        return site.keep()
    a, b = site.x(), site.input(1)
    strict = site.emit(site.node.op_type.removesuffix("OrEqual"), a, b)
    return [site.emit("Or", strict, site.emit("Equal", a, b))]


RULES: dict[str, Rule] = {
    "Cast": cast,
    "CastLike": cast_like,
    "Clip": clip,
    "Constant": constant,
    "Dropout": dropout,
    "Gemm": gemm,
    "GreaterOrEqual": or_equal,
    "LessOrEqual": or_equal,
    "Max": extremum,
    "Min": extremum,
    "Pow": power,
}
