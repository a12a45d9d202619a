"""Which passes there are, their order, and passes of a user's own file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest

from nfexport import extensions
from nfexport.errors import InputError, RecipeError
from nfexport.passes import registry
from nfexport.passes.base import Pass, Stage
from nfexport.passes.result import PassOutcome
from tests.passes.graphs import operators, parse

TOY = '''
from nfexport.passes.base import Changes, Pass, Stage


class SwapNeg(Pass):
    """Replace Neg by Abs."""

    name = "swap-neg"
    stage, after = Stage.REWRITES, ("merge-groups",)
    changes = Changes.NUMBERS

    def call(self, model):
        found = [node for node in model.graph if node.op_type == "Neg"]
        for node in found:
            node.op_type = "Abs"
        return self.rewrote(model, [node.name for node in found], "Neg replaced")


class FoldBn(SwapNeg):
    name = "fold-bn"


class Spaced(SwapNeg):
    name = "swap neg"


class First(SwapNeg):
    name, after, before = "first", ("second",), ()


class Second(SwapNeg):
    name, after, before = "second", ("first",), ()


NUMBER = 5
'''


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    """A user's file of passes; what it adds to the registry is gone after the test."""
    file = tmp_path / "toy.py"
    file.write_text(TOY)
    yield file
    registry._of_files.clear()
    registry._sorted.cache_clear()


def test_a_pass_of_a_users_file_is_found_by_its_name_and_runs_in_its_place(toy: Path) -> None:
    cls = registry.load_file(f"{toy}:SwapNeg")
    assert registry.get("swap-neg") is cls
    assert not registry.is_built_in(cls)
    order = registry.order()
    assert order.index("merge-groups") < order.index("swap-neg") < order.index("normalize")
    model = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    assert cls().apply(model).changed == 1
    assert operators(model) == ["Abs"]


def test_the_origin_of_a_users_pass_is_the_digest_of_its_file(toy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "toy.py"
    other.parent.mkdir()
    other.write_text(TOY + "# another\n")
    passes = [registry.load_file(f"{file}:SwapNeg") for file in (toy, other)]
    digests = [extensions.origin(cls)["sha256"] for cls in passes]
    assert digests == [hashlib.sha256(file.read_bytes()).hexdigest() for file in (toy, other)]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("toy.py", "does not name a pass"),
        ("toy.txt:SwapNeg", "does not name a pass"),
        ("gone.py:SwapNeg", "does not exist"),
        ("toy.py:Gone", "has no 'Gone'"),
        ("toy.py:NUMBER", "'NUMBER' is not a graph pass, but int"),
        ("toy.py:FoldBn", "is named 'fold-bn', as one of nfexport's passes"),
        ("toy.py:Spaced", "'Spaced' is not named in lower-case words with hyphens"),
    ],
)
def test_what_is_no_pass_is_refused_by_name(toy: Path, reference: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        registry.load_file(str(toy.parent / reference))


def test_an_error_in_a_users_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import nowhere_to_be_found\n")
    with pytest.raises(InputError, match=r"cannot be imported \(ModuleNotFoundError"):
        registry.load_file(f"{file}:Anything")
    assert not [name for name in sys.modules if name.startswith("nfexport_pass_bad")]


def test_passes_that_each_ask_to_run_before_the_other_are_named(toy: Path) -> None:
    registry.load_file(f"{toy}:First")
    registry.order()  # one alone asks for nothing impossible
    with pytest.raises(InputError, match=r"first → second → first|second → first → second"):
        registry.load_file(f"{toy}:Second")
    assert "first" in registry.order()
    assert "second" not in registry.order()


def test_a_name_that_no_pass_has_lists_those_that_there_are() -> None:
    with pytest.raises(RecipeError, match="there is no graph pass 'fold-all'") as raised:
        registry.get("fold-all")
    assert "fold-bn" in str(raised.value)


ORDER = (
    *("tidy", "fold-constants", "drop-expand", "static-shapes"),
    *("fold-ws", "fold-bn", "fold-constants", "merge-branches", "fold-scales"),
    *("merge-groups", "merge-affine", "pool-globally", "merge-pads", "multiply-gates"),
    *("normalize", "channels", "resize", "input-form"),
    *("head", "extract", "rename", "batch"),
    *("guard-pooling", "convert-opset"),
    "precision",
    *("simplify", "name-by-module", "strip"),
)
"""The order that files of nfexport were always written in: another one would write other files."""


def test_what_the_passes_say_of_each_other_gives_one_order() -> None:
    assert tuple(name for name in registry.order() if name in registry.built_in()) == ORDER
    assert set(ORDER) == set(registry.built_in())


@pytest.mark.parametrize("name", sorted(registry.built_in()))
def test_what_a_pass_declares_is_complete(name: str) -> None:
    cls = registry.get(name)
    assert cls.name == name
    assert cls.headline().endswith(".")
    others = {*cls.after, *cls.before, *cls.again_after, *cls.brings, *cls.declines}
    assert others <= set(registry.built_in())
    assert {registry.get(other).stage for other in (*cls.after, *cls.before)} <= {cls.stage}
    for option in cls.options:
        assert option.help.endswith(".")
        assert option.commands
    assert cls.options or cls.implied_by


class _Earlier(Pass):
    """Run before all folds."""

    name = "a-first"
    stage, before = Stage.FOLDS, ("fold-ws", "fold-bn")

    def call(self, model: ir.Model) -> PassOutcome:
        raise NotImplementedError


def test_before_is_as_good_as_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._of_files, "a-first", _Earlier)
    order = [cls.name for cls in registry._sorted((*registry.built_in(), "a-first"))]
    assert order.index("a-first") == order.index("fold-ws") - 1


LIGHT = """
import sys
from nfexport.passes import registry
for cls in registry.all_passes():
    cls.headline(), cls.options, cls.formula
{more}
print(*[name for name in ("numpy", "onnx", "onnx_ir", "sympy", "torch") if name in sys.modules])
"""


def imported(more: str) -> list[str]:
    code = LIGHT.format(more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_reading_what_passes_declare_imports_no_library_that_is_slow() -> None:
    """onnx_ir alone takes half a second, and a help page reads every pass."""
    assert imported("") == []


def test_that_test_can_fail() -> None:
    assert "onnx_ir" in imported("registry.get('fold-bn')()")


UNUSABLE = """
from nfexport.passes.base import Pass, Stage


class WrongStage(Pass):
    name, stage, before = "wrong-stage", Stage.FRONT, ("fold-ws",)

    def call(self, model): ...


class NoCall(Pass):
    name = "no-call"


class NoJson(Pass):
    name = "no-json"
    xs: list[int] = []

    def call(self, model): ...
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("WrongStage", "the stage of the pass 'wrong-stage' contradicts its order relative to 'fold-ws'"),
        ("NoCall", "'NoCall' has no method `call`"),
        ("NoJson", "the parameters of 'NoJson' cannot be read"),
    ],
)
def test_a_class_that_cannot_be_a_pass_is_refused(name: str, message: str, toy: Path) -> None:
    toy.write_text(UNUSABLE)
    with pytest.raises(InputError, match=message):
        registry.load_file(f"{toy}:{name}")
    assert registry._of_files == {}
    registry.order()


def test_a_pass_of_a_file_runs_only_where_it_is_named(toy: Path) -> None:
    from nfexport.passes.base import Bundle, Request
    from nfexport.passes.plan import plan

    toy.write_text(
        TOY.replace("    changes =", "    implied_by = (Bundle.OPTIMIZE,)\n    changes =", 1).replace(
            "import Changes", "import Bundle, Changes"
        )
    )
    registry.load_file(f"{toy}:SwapNeg")
    request, bundles = Request(command="surgery", values={}), {Bundle.OPTIMIZE}
    assert "swap-neg" not in {item.name for item in plan(request, bundles)}
    assert "swap-neg" in {item.name for item in plan(request, bundles, extra={"swap-neg": {}})}


def test_one_pass_is_not_requested_in_two_ways() -> None:
    from nfexport.passes.base import Request
    from nfexport.passes.plan import plan

    request = Request(command="export", values={"fold_ws": True})
    with pytest.raises(RecipeError, match="'fold-ws' is requested by --pass and by --fold-ws"):
        plan(request, (), extra={"fold-ws": {}})


def test_the_origin_names_what_the_parameters_change(toy: Path) -> None:
    from nfexport.passes.plan import step_of

    toy.write_text(
        TOY.replace(
            "    def call",
            "    more: bool = False\n\n    def what_changes(self):\n"
            "        return Changes.WEIGHTS if self.more else Changes.NOTHING\n\n    def call",
            1,
        )
    )
    cls = registry.load_file(f"{toy}:SwapNeg")
    for params, changes in (({"more": True}, ("weights",)), ({}, ())):
        origin = step_of(cls.from_params(params)).origin
        assert origin is not None
        assert origin.changes == changes
