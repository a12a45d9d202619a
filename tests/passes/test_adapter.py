"""Passes of onnx_ir and rules of onnxscript run as passes of nfexport, and ours run among theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, LiftConstantsToInitializersPass
from onnxscript.rewriter import RewritePass, RewriteRule, RewriteRuleClassBase, RewriteRuleSet

from nfexport.errors import InputError, PassError, RecipeError
from nfexport.passes.adapter import adapted
from nfexport.passes.base import Changes, Pass, Stage
from nfexport.passes.result import PassOutcome
from tests.passes.graphs import operators, parse, run

TWICE = "g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(x) y = Add(a, b) }"


class RenameNeg(ir.passes.FunctionalPass):
    """Return another model, in which Abs stands for Neg."""

    def __init__(self, to: str = "Abs", limit: int | None = None) -> None:
        self.to = to
        self.limit = limit

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        other = model.clone()
        for node in list(other.graph)[: self.limit]:
            node.op_type = self.to if node.op_type == "Neg" else node.op_type
        other.metadata_props["renamed"] = "yes"
        return ir.passes.PassResult(other, True)


class Needy(ir.passes.InPlacePass):
    """Need a function."""

    def __init__(self, function: RewriteRule) -> None:
        self.function = function

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise NotImplementedError


class Failing(ir.passes.InPlacePass):
    """Fail in its postcondition."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, False)

    def ensures(self, model: ir.Model) -> None:
        raise ValueError("it is not so")


class DoubleNegation(RewriteRuleClassBase):
    """Neg(Neg(x)) = x."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Neg(op.Neg(x))

    def rewrite(self, op: Any, x: Any) -> Any:
        return op.Identity(x)


class DropRelu(Pass):
    """Drop each Relu behind a Relu."""

    name = "drop-relu"

    def call(self, model: ir.Model) -> PassOutcome:
        dropped = []
        for node in list(model.graph):
            source = node.inputs[0]
            before = None if source is None else source.producer()
            if node.op_type == before.op_type == "Relu" if before is not None else False:
                node.op_type = "Identity"
                dropped.append(str(node.name))
        return self.rewrote(model, dropped, "Relu dropped")


def test_a_class_of_onnx_ir_is_named_after_itself_and_may_change_anything() -> None:
    cls = adapted("CommonSubexpressionEliminationPass", CommonSubexpressionEliminationPass, "theirs")
    assert cls.name == "common-subexpression-elimination-pass"
    assert (cls.stage, cls.__module__) == (Stage.REWRITES, "theirs")
    assert all(change in cls.changes for change in Changes)
    model = parse(TWICE)
    before = run(model, {"x": np.array([1, -2], np.float32)})
    report = cls().apply(model)
    assert (report.changed, operators(model)) == (1, ["Neg", "Add"])
    assert "3 nodes became 2" in report.summary
    assert np.array_equal(run(model, {"x": np.array([1, -2], np.float32)}), before)
    assert cls().apply(model).summary == "changed nothing"


def test_arguments_of_a_constructor_are_parameters() -> None:
    cls = adapted("lift-all", LiftConstantsToInitializersPass, "theirs")
    assert cls.from_params({"size_limit": 1}).params == {"lift_all_constants": False, "size_limit": 1}
    model = parse("g (float[2] x) => (float[2] y) { c = Constant<value_float = 2.0>() y = Mul(x, c) }")
    assert cls().apply(model).changed == 0
    assert cls.from_params({"lift_all_constants": True, "size_limit": 0}).apply(model).changed == 1
    assert operators(model) == ["Mul"]
    with pytest.raises(
        RecipeError, match=r"'lift-all' are not valid \(Expected `int`, got `str` - at `\$.size_limit`"
    ):
        cls.from_params({"size_limit": "large"})


def test_a_functional_pass_changes_the_model_that_it_is_given() -> None:
    model = parse(TWICE)
    model.meta["nfexport.parameters"] = frozenset({"w"})
    cls = adapted("RenameNeg", RenameNeg, "theirs")
    cls(limit=1).apply(model)
    assert operators(model) == ["Abs", "Neg", "Add"]
    assert model.metadata_props["renamed"] == "yes"
    assert model.meta["nfexport.parameters"] == {"w"}
    run(model, {"x": np.zeros(2, np.float32)})


def test_an_instance_is_used_as_it_is() -> None:
    cls = adapted("TO_SIN", RenameNeg(to="Sin"), "theirs")
    model = parse(TWICE)
    assert cls.name == "to-sin"
    assert cls().params == {}
    cls().apply(model)
    assert operators(model) == ["Sin", "Sin", "Add"]


@pytest.mark.parametrize(
    "rules",
    [
        DoubleNegation,
        DoubleNegation.rule(),  # type: ignore[no-untyped-call]
        [DoubleNegation.rule()],  # type: ignore[no-untyped-call]
        (DoubleNegation,),
        RewriteRuleSet([DoubleNegation.rule()]),  # type: ignore[no-untyped-call]
        RewritePass([DoubleNegation.rule()]),  # type: ignore[no-untyped-call]
    ],
    ids=["class", "rule", "list", "tuple of classes", "set", "pass"],
)
def test_rules_of_onnxscript_are_a_pass(rules: object) -> None:
    cls = adapted("NegNeg", rules, "theirs")
    model = parse("g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) y = Relu(b) }")
    report = cls().apply(model)
    assert (cls.name, report.changed, report.summary) == ("neg-neg", 1, "3 nodes became 2")
    assert operators(model) == ["Identity", "Relu"]


def test_our_pass_runs_between_theirs() -> None:
    model = parse("g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) c = Relu(b) y = Relu(c) }")
    rewrite = RewritePass([DoubleNegation.rule()])  # type: ignore[no-untyped-call]
    ir.passes.Sequential(rewrite, DropRelu(), CommonSubexpressionEliminationPass())(model)
    assert operators(model) == ["Identity", "Relu", "Identity"]


def test_what_is_neither_is_refused_by_name() -> None:
    for thing in (5, "rules", [], [5], object):
        with pytest.raises(InputError, match="'Thing' is not a graph pass"):
            adapted("Thing", thing, "theirs")
    with pytest.raises(InputError, match="'Needy' requires the argument 'function'"):
        adapted("Needy", Needy, "theirs")


def test_an_error_of_theirs_is_one_sentence() -> None:
    with pytest.raises(PassError, match=r"the pass 'failing' failed \(ValueError: it is not so\)"):
        adapted("Failing", Failing, "theirs")().apply(parse(TWICE))
