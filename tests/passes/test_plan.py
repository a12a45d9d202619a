"""From what a user asks for to the passes that do it, and what a verification may rely on after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CommonSubexpressionEliminationPass
from onnxscript.rewriter import RewriteRuleClassBase

from nfexport.errors import RecipeError
from nfexport.passes import registry
from nfexport.passes.adapter import adapted
from nfexport.passes.allowances import keeps_weights, moves_factors
from nfexport.passes.base import Bundle, Request
from nfexport.passes.ledger import run_with_ledger
from nfexport.passes.plan import plan, run, step_of
from nfexport.recipe.recipe import Origin, PassStep
from tests.passes.graphs import operators, parse

CLEARING = ("fold-constants", "drop-expand", "static-shapes")
REWRITES = ("merge-groups", "merge-affine", "pool-globally", "merge-pads", "multiply-gates")


def surgery(*bundles: Bundle, **values: Any) -> list[str]:
    request = Request(command="surgery", values=values, opset=17)
    return [item.name for item in plan(request, (Bundle.SURGERY, *bundles))]


def test_an_export_without_options_has_the_passes_of_every_export() -> None:
    request = Request(command="export", values={}, opset=17)
    assert [item.name for item in plan(request, (Bundle.EXPORT,))] == [
        *("tidy", *CLEARING, "fold-bn", "fold-constants", "merge-branches"),
        *("guard-pooling", "convert-opset", "name-by-module"),
    ]


def test_the_opset_of_an_export_is_the_requests_and_that_of_a_surgery_its_options() -> None:
    export = plan(Request(command="export", values={}, opset=11), (Bundle.EXPORT,))
    assert [item.params for item in export if item.name == "convert-opset"] == [{"opset": 11}]
    assert "convert-opset" not in surgery()
    assert "convert-opset" in surgery(opset=13)


def test_optimize_asks_for_every_fold_and_rewrite_that_is_not_refused() -> None:
    names = surgery(Bundle.OPTIMIZE)
    assert {"fold-ws", "fold-bn", "fold-scales", *REWRITES} <= set(names)
    refused = surgery(Bundle.OPTIMIZE, merge_groups=False, multiply_gates=False)
    assert set(names) - set(refused) == {"merge-groups", "multiply-gates"}


def test_a_rewrite_can_be_asked_for_alone() -> None:
    assert surgery(pool_globally=True) == ["tidy", "pool-globally"]


def test_a_fold_brings_what_shows_it_constants_and_runs_folding_again_afterwards() -> None:
    assert surgery(fold_ws=True) == ["tidy", *CLEARING, "fold-ws", "fold-constants"]


def test_beside_a_new_batch_nothing_is_brought() -> None:
    """The sizes that folding makes constant would be those of the old batch."""
    assert surgery(fold_ws=True, batch=4) == ["tidy", "fold-ws", "batch"]


def test_a_pass_can_be_asked_for_by_name_with_parameters() -> None:
    request = Request(command="surgery", values={}, opset=17)
    steps = [step_of(item) for item in plan(request, (), {"precision": {"form": "fp16"}})]
    assert steps == [PassStep(name="precision", params={"form": "fp16"})]
    with pytest.raises(RecipeError, match="the parameters of the pass 'precision' are not valid"):
        plan(request, (), {"precision": {"form": "fp8"}})


class NegNeg(RewriteRuleClassBase):
    """Neg(Neg(x)) = x."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Neg(op.Neg(x))

    def rewrite(self, op: Any, x: Any) -> Any:
        return op.Identity(x)


@pytest.fixture
def foreign() -> Iterator[None]:
    """A pass of onnx_ir and a rule of onnxscript, as if a user had named them by a file."""
    for found in (CommonSubexpressionEliminationPass, NegNeg):
        cls = adapted(found.__name__, found, __name__)
        registry._of_files[cls.name] = cls
    registry._sorted.cache_clear()
    yield
    registry._of_files.clear()
    registry._sorted.cache_clear()


@pytest.mark.usefixtures("foreign")
def test_passes_of_onnx_ir_and_onnxscript_run_in_a_plan_and_are_kept_with_their_origin() -> None:
    model = parse(
        "g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) c = Abs(b) d = Abs(b) e = Identity(c) y = Add(e, d) }"
    )
    request = Request(command="surgery", values={"strip": True}, opset=11)
    passes = plan(request, (Bundle.SURGERY,), {"neg-neg": {}, "common-subexpression-elimination-pass": {}})
    assert [item.name for item in passes] == [
        *("tidy", "common-subexpression-elimination-pass", "neg-neg", "strip"),
    ]
    steps = [step_of(item) for item in passes]
    assert [step.origin is None for step in steps] == [True, False, False, True]
    origin = steps[2].origin
    assert origin is not None
    assert origin.name == f"{__name__}:NegNeg"
    assert origin.changes == ("weights", "factors", "interface", "numbers")
    assert not keeps_weights(steps)
    seen: list[str] = []
    reports = run(model, passes, seen.append)
    assert seen == [report.name for report in reports] == [item.name for item in passes]
    assert operators(model) == ["Identity", "Abs", "Add"]


@pytest.mark.usefixtures("foreign")
def test_the_ledger_of_a_foreign_pass_counts_nodes() -> None:
    model = parse("g (float[2] x) => (float[2] y) { a = Neg(x) b = Neg(a) y = Relu(b) }")
    (entry,) = run_with_ledger(model, [registry.get("neg-neg")()])
    assert (entry.name, entry.nodes_before, entry.nodes_after) == ("neg-neg", 3, 2)


def test_our_passes_run_in_a_sequence_of_onnx_ir() -> None:
    model = parse("g (float[2] x) => (float[2] y) { a = Identity(x) b = Neg(a) c = Neg(a) y = Add(b, c) }")
    ours = [registry.get(name)() for name in ("tidy", "name-by-module")]
    ir.passes.Sequential(ours[0], CommonSubexpressionEliminationPass(), ours[1])(model)
    assert [node.name for node in model.graph] == ["/Neg", "/Add"]


@pytest.mark.parametrize(
    ("step", "weights_kept", "factors_moved"),
    [
        (PassStep(name="fold-ws"), True, False),
        (PassStep(name="fold-bn"), True, False),
        (PassStep(name="merge-branches"), True, False),
        (PassStep(name="fold-scales"), False, True),
        (PassStep(name="merge-groups"), False, False),
        (PassStep(name="simplify"), False, False),
        (PassStep(name="strip"), True, False),
        (PassStep(name="channels", params={"order": "bgr", "fold": "auto"}), False, False),
        (PassStep(name="channels", params={"order": "bgr", "fold": False}), True, False),
        (PassStep(name="normalize", params={"mean": [0.5], "std": [1.0], "fold": True}), False, False),
        (PassStep(name="normalize", params={"mean": [0.5], "std": [1.0]}), True, False),
        (PassStep(name="gone"), False, True),
        (PassStep(name="gone", origin=Origin(name="m:C", sha256="0" * 64, changes=("interface",))), True, False),
        (PassStep(name="gone", origin=Origin(name="m:C", sha256="0" * 64, changes=("later",))), False, True),
    ],
)
def test_a_verification_relies_on_no_more_than_passes_leave(
    step: PassStep, weights_kept: bool, factors_moved: bool
) -> None:
    assert keeps_weights([step]) is weights_kept
    assert moves_factors([step]) is factors_moved
