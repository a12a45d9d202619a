"""The base class of graph passes: one class in one file, which declares everything the rest of nfexport needs.

    class FoldWeightStandardisation(Pass):
        name = "fold-ws"
        stage, after = Stage.FOLDS, ("static-shapes",)
        options = (Option(flag="--fold-ws", help="Fold weight standardisation into constant weights."),)
        implied_by = (Bundle.OPTIMIZE,)
        formula = "Conv(x, f(constants)) → Conv(x, w')"

        def call(self, model): ...

Annotated fields are the parameters of the pass: arguments of the class, and the `params` of its step in a recipe,
validated by type. The order of the passes, the command line, the keyword arguments, the ledger and the verifier's
allowances all derive from these declarations (registry.py, plan.py, ledger.py, allowances.py).

A pass is an onnx_ir InPlacePass, so it can be part of an onnx_ir Sequential. Conversely, onnx_ir passes and
onnxscript rewrite rules can be used as nfexport passes (adapter.py).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from nfexport.errors import NfexportError, PassError, RecipeError
from nfexport.passes.report import PassReport
from nfexport.recipe.option import Option
from nfexport.recipe.recipe import Output, Preprocessing

if TYPE_CHECKING:
    import onnx_ir as ir
    from typing_extensions import Self, dataclass_transform

    from nfexport.passes.result import PassOutcome

    _InPlacePass = ir.passes.InPlacePass
else:
    # importing onnx_ir takes half a second, which a help page should not cost: see Pass.__new__
    _InPlacePass = object

    def dataclass_transform(**_: Any) -> Any:
        """Stand in for the decorator that type checkers read."""
        return lambda cls: cls


class Stage(enum.IntEnum):
    """When a pass runs; `after` and `before` decide the order within a stage."""

    CLEANUP = 0
    """Constants and shapes, which later stages depend on."""
    FOLDS = 1
    REWRITES = 2
    """Rewrites of weights that no later pass changes."""
    FRONT = 3
    """Preprocessing in front of the network; each pass inserts its nodes before those already there."""
    INTERFACE = 4
    OPSET = 5
    """The last stage that writes float32 operators; the opset is final afterwards."""
    PRECISION = 6
    FINISH = 7


class Bundle(enum.Enum):
    """What enables a pass without naming it."""

    EXPORT = "every export"
    SURGERY = "every surgery"
    OPTIMIZE = "--optimize"


class Changes(enum.Flag):
    """What a pass may change; the verifier skips the comparisons that this makes meaningless."""

    NOTHING = 0
    WEIGHTS = enum.auto()
    """Stored weights differ from the model's, apart from folded weight standardisation."""
    FACTORS = enum.auto()
    """Tensors inside the graph may be constant multiples of the model's."""
    INTERFACE = enum.auto()
    """Names, types, shapes or meaning of inputs or outputs."""
    NUMBERS = enum.auto()
    """Outputs differ by more than float32 rounding."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the flags that are set, in lower case."""
        # the class is iterated, and 0 left out: before Python 3.11 a value has no order, and 0 is in every one
        return tuple(str(flag.name).lower() for flag in type(self) if flag.value and flag in self)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The options that a user passed, and the context in which the passes will run.

    values maps keywords to the options that were given. network is the preprocessing that the network was trained
    with, None if unknown; channels is the number of input channels; opset is that of the finished file, None to keep
    the present one; outputs are those of an export. planned are the passes selected so far, which run earlier."""

    command: typing.Literal["export", "surgery"]
    values: Mapping[str, Any]
    network: Preprocessing | None = None
    channels: int | None = None
    opset: int | None = None
    outputs: Sequence[Output] = ()
    planned: Mapping[str, Pass] = {}

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of an option, or the default if it was not given."""
        value = self.values.get(keyword)
        return default if value is None else value


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Pass(_InPlacePass):
    """Base class of every graph pass. At its first use a subclass becomes a frozen dataclass, of keyword-only fields.

    name is the file name, with hyphens. after lists passes of the same stage that run earlier, before those that run
    later, again_after those after which the pass runs a second time. Surgery runs few passes by default; there,
    brings lists passes that must run before this one, and declines those that must not be added together with it.
    later lists parameters that older recipes lack: a recipe leaves them out where they are at their default.
    already describes a file that has this step in front of its network ('normalises its images')."""

    name: ClassVar[str]
    stage: ClassVar[Stage] = Stage.REWRITES
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    again_after: ClassVar[tuple[str, ...]] = ()
    implied_by: ClassVar[tuple[Bundle, ...]] = ()
    brings: ClassVar[tuple[str, ...]] = ()
    declines: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    changes: ClassVar[Changes] = Changes.NOTHING
    formula: ClassVar[str] = ""
    already: ClassVar[str] = ""
    later: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *positional: Any, **parameters: Any) -> Self:
        """Return an instance that is an onnx_ir InPlacePass.

        The class itself is not one, so that a pass can be declared without importing onnx_ir."""
        known = _fields(cls)
        if (positional or parameters) and not known:
            raise TypeError(f"{cls.__name__} takes no parameters")
        return typing.cast("Self", object.__new__(_on_onnx_ir(cls)))

    def __call__(self, model: Any, /) -> PassOutcome:
        """Run requires, call and ensures on an onnx_ir.Model, or on the result of another pass.

        Raises PassError from any of the three; the model is partly changed only if call raised it."""
        try:
            return super().__call__(model)  # type: ignore[return-value]  # call returns a PassOutcome
        except NfexportError:
            raise
        except Exception as error:
            cause = error.__cause__ or error  # onnx_ir wraps errors from requires and ensures
            if isinstance(cause, NfexportError):
                raise cause from None
            if type(self).__module__.startswith("nfexport."):
                raise
            raise PassError(
                f"the pass '{self.name}' failed ({type(cause).__name__}: {cause})",
                fix="leave the pass out, or fix its code",
            ) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.params.items())})"

    def apply(self, model: ir.Model) -> PassReport:
        """Run the pass on a model in place, and return its report."""
        return self(model).report

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, by name, as a recipe keeps them."""
        values = {field.name: getattr(self, field.name) for field in _fields(type(self))}
        defaults = {field.name: field.default for field in _fields(type(self)) if field.name in self.later}
        return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}

    def what_changes(self) -> Changes:
        """Return what this pass may change with its parameters; `changes` unless overridden."""
        return self.changes

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the pass with the parameters of a recipe's step.

        Raises RecipeError for a parameter that is unknown, missing, of the wrong type or out of range."""
        return cls(**cls.checked_params(params))

    @classmethod
    def checked_params(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the validated parameters of a recipe's step, without creating the pass, which needs onnx_ir.

        Raises RecipeError as from_params does."""
        schema = _schema(cls)
        try:
            checked = msgspec.convert(dict(params), schema, strict=True)
        except msgspec.ValidationError as error:
            raise RecipeError(
                f"the parameters of the pass '{cls.name}' are not valid ({error})", fix="export the model again"
            ) from error
        return msgspec.structs.asdict(checked)

    @classmethod
    def asked(cls, request: Request) -> Self | None:
        """Return the pass as the options request it, or None if they do not.

        The default is a pass without parameters, if its first option is true. Raises RecipeError for options that
        contradict each other or the network."""
        return cls() if cls.options and request.get(cls.options[0].keyword) is True else None

    @classmethod
    def oldest_opset(cls, request: Request) -> int:
        """Return the oldest opset at which the pass can do what the options ask for; 1 if each will do.

        An export that names no opset takes a later one than the default if a pass needs it."""
        return 1

    @classmethod
    def headline(cls) -> str:
        """Return the first paragraph of the class's docstring on one line."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the fields of the parameters that the class declares."""
        return _fields(cls)

    def done(
        self,
        model: ir.Model,
        *,
        changed: int,
        summary: str,
        facts: Mapping[str, Any] | None = None,
        left_alone: Mapping[str, str] | None = None,
    ) -> PassOutcome:
        """Return the result of `call`: the number of changes, a one-sentence summary, the facts behind it, and the
        nodes that were left unchanged, each with the reason."""
        from nfexport.passes.result import PassOutcome

        report = PassReport(
            name=self.name, changed=changed, summary=summary, facts=facts or {}, left_alone=left_alone or {}
        )
        return PassOutcome(model=model, modified=changed > 0, report=report)

    def rewrote(
        self, model: ir.Model, nodes: Sequence[str], work: str, left_alone: Mapping[str, str] | None = None
    ) -> PassOutcome:
        """Return the result of a pass that rewrote these nodes; work follows their number in the summary."""
        facts = {"nodes": list(nodes)}
        return self.done(
            model, changed=len(nodes), summary=f"{len(nodes)} {work}", facts=facts, left_alone=left_alone
        )


@functools.cache
def _on_onnx_ir(cls: type[Pass]) -> type[Pass]:
    import onnx_ir as ir

    if ir.passes.InPlacePass in cls.__mro__:
        return cls
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return typing.cast("type[Pass]", type(cls.__name__, (cls, ir.passes.InPlacePass), named))


@functools.cache
def _fields(cls: type[Pass]) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of a pass, which becomes a dataclass with them.

    Here rather than when the class is defined: a help page reads every pass, and a dataclass takes a millisecond."""
    if cls is Pass:
        return ()
    for base in cls.__bases__:
        if issubclass(base, Pass):
            _fields(base)
    if "__annotations__" in cls.__dict__:
        dataclasses.dataclass(frozen=True, kw_only=True, eq=True, repr=False)(cls)
    return dataclasses.fields(typing.cast("Any", cls)) if hasattr(cls, "__dataclass_fields__") else ()


@functools.cache
def _schema(cls: type[Pass]) -> type[msgspec.Struct]:
    """Return the type against which the parameters of a pass are validated."""
    hints = typing.get_type_hints(cls, include_extras=True) if _fields(cls) else {}
    fields: list[Any] = []
    for field in _fields(cls):
        kind = hints[field.name]
        if field.default is not dataclasses.MISSING:
            fields.append((field.name, kind, field.default))
        elif field.default_factory is not dataclasses.MISSING:
            fields.append((field.name, kind, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, kind))
    return msgspec.defstruct(cls.__name__, fields, kw_only=True, forbid_unknown_fields=True)
