"""What every graph pass has from its base: validated parameters, checks around each call, a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import onnx_ir as ir
import pytest

from nfexport.errors import PassError, RecipeError
from nfexport.passes.base import Changes, Pass, Stage
from nfexport.passes.result import PassOutcome
from tests.passes.graphs import operators, parse

BODY = "g (float[2] x) => (float[2] y) { z = Neg(x) y = Relu(z) }"


class Swap(Pass):
    """Replace Neg by another operator.

    Nothing else."""

    name = "swap"
    stage = Stage.REWRITES
    changes = Changes.NUMBERS

    by: Literal["Abs", "Sin"]
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    scale: tuple[float, ...] = ()
    names: Mapping[str, str] | None = None

    def requires(self, model: ir.Model) -> None:
        if "Neg" not in operators(model):
            raise PassError("there is no Neg", fix="leave out --swap")

    def call(self, model: ir.Model) -> PassOutcome:
        swapped = [node for node in model.graph if node.op_type == "Neg"]
        for node in swapped:
            node.op_type = self.by
        return self.rewrote(model, [str(node.name) for node in swapped], "Neg replaced")

    def ensures(self, model: ir.Model) -> None:
        if self.times == 7:
            raise PassError("seven is too much", fix="pass another number")


class Plain(Pass):
    """Do nothing."""

    name = "plain"

    def call(self, model: ir.Model) -> PassOutcome:
        return self.done(model, changed=0, summary="nothing to do")


class Broken(Pass):
    """Fail."""

    name = "broken"

    def call(self, model: ir.Model) -> PassOutcome:
        raise KeyError("gain")


class BrokenOfOurs(Broken):
    """Fail in nfexport's own code."""

    __module__ = "nfexport.passes.folds.broken"


def test_a_pass_reports_what_it_did() -> None:
    model = parse(BODY)
    report = Swap(by="Abs").apply(model)
    assert (report.name, report.changed, report.summary) == ("swap", 1, "1 Neg replaced")
    assert report.facts == {"nodes": ["/Neg_0"]}
    assert operators(model) == ["Abs", "Relu"]


def test_a_pass_stands_in_a_sequence_of_onnx_ir_and_before_its_passes() -> None:
    from onnx_ir.passes.common import IdentityEliminationPass

    model = parse("g (float[2] x) => (float[2] y) { a = Identity(x) b = Neg(a) y = Relu(b) }")
    sequence = ir.passes.Sequential(IdentityEliminationPass(), Swap(by="Sin"), Plain())
    assert sequence.in_place
    result = sequence(model)
    assert result.modified
    assert result.model is model
    assert operators(model) == ["Sin", "Relu"]
    assert not Plain()(Swap(by="Sin")(parse(BODY))).modified


def test_parameters_of_a_recipe_become_what_the_fields_say() -> None:
    item = Swap.from_params({"by": "Sin", "times": 3, "scale": [1, 2.5], "names": {"a": "b"}})
    assert item == Swap(by="Sin", times=3, scale=(1.0, 2.5), names={"a": "b"})
    assert item.params == {"by": "Sin", "times": 3, "scale": (1.0, 2.5), "names": {"a": "b"}}
    assert repr(Swap(by="Sin")) == "Swap(by='Sin', times=1, scale=(), names=None)"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"by": "Cos"}, r"Invalid enum value 'Cos' - at `\$\.by`"),
        ({}, "missing required field `by`"),
        ({"by": "Sin", "times": 0}, r"Expected `int` >= 1 - at `\$\.times`"),
        ({"by": "Sin", "times": "2"}, r"Expected `int`, got `str` - at `\$\.times`"),
        ({"by": "Sin", "scale": ["a"]}, r"Expected `float`, got `str` - at `\$\.scale\[0\]`"),
        ({"by": "Sin", "speed": 2}, "unknown field `speed`"),
    ],
)
def test_parameters_that_do_not_fit_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=f"the parameters of the pass 'swap' are not valid.*{said}"):
        Swap.from_params(params)


def test_a_pass_without_parameters_takes_none() -> None:
    assert Plain.from_params({}).params == {}
    with pytest.raises(RecipeError, match="unknown field `fold`"):
        Plain.from_params({"fold": True})
    with pytest.raises(TypeError, match="Plain takes no parameters"):
        Plain(fold=True)


def test_what_requires_and_ensures_raise_reaches_the_caller_as_it_is() -> None:
    with pytest.raises(PassError, match="there is no Neg"):
        Swap(by="Abs").apply(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    with pytest.raises(PassError, match="seven is too much"):
        Swap(by="Abs", times=7).apply(parse(BODY))


def test_an_error_in_the_code_of_another_package_is_one_sentence() -> None:
    with pytest.raises(PassError, match=r"the pass 'broken' failed \(KeyError: 'gain'\)"):
        Broken().apply(parse(BODY))


def test_an_error_in_a_pass_of_nfexport_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="gain"):
        BrokenOfOurs().apply(parse(BODY))


def test_the_headline_is_the_first_paragraph() -> None:
    assert Swap.headline() == "Replace Neg by another operator."
    assert Swap(by="Abs").what_changes() is Changes.NUMBERS
