"""Wrap onnx_ir passes and onnxscript rewrite rules as passes of nfexport.

    FILE.py:FuseThings    a subclass of onnx_ir.passes.PassBase, in-place or functional; constructor arguments of
                          a plain type become its parameters
    FILE.py:PASS          an instance of one
    FILE.py:RULES         an onnxscript RewriteRule or RewriteRuleSet, a class of rules, or a list of rules

They run in the rewrite stage and may change anything; the result is verified like any other file.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from nfexport.errors import InputError
from nfexport.graph.libraries import ir
from nfexport.passes.base import Changes, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome

_Work = Callable[["ir.Model", Mapping[str, Any]], int]
"""Changes a model in place with the given parameters, and returns the number of changes."""


class Adapted(Pass):
    """Base class of the classes that `adapted` creates."""

    stage = Stage.REWRITES
    changes = ~Changes.NOTHING
    work: ClassVar[_Work]

    def call(self, model: ir.Model) -> PassOutcome:
        """Run the wrapped pass or rules in place."""
        before = model.graph.num_nodes()
        changed = type(self).work(model, self.params)
        summary = f"{before} nodes became {model.graph.num_nodes()}" if changed else "changed nothing"
        return self.done(model, changed=changed, summary=summary)


def adapted(name: str, found: object, module: str) -> type[Pass]:
    """Return a Pass class with this name that wraps an onnx_ir pass or onnxscript rewrite rules from a module.

    Raises InputError for anything else, and for a class with a required argument that a recipe cannot store."""
    fields: dict[str, tuple[Any, Any]] = {}
    work: _Work
    if isinstance(found, type) and issubclass(found, ir.passes.PassBase):
        fields = _parameters(name, found)
        work = functools.partial(_run_class, found)
    elif isinstance(found, ir.passes.PassBase):
        work = functools.partial(_run, found)
    elif (rules := _rules(found)) is not None:
        work = functools.partial(_rewrite, rules)
    else:
        raise InputError(
            f"'{name}' is not a graph pass, but {type(found).__name__}",
            fix="name a subclass of nfexport.passes.base.Pass, an onnx_ir pass, or onnxscript rewrite rules",
        )
    declared = {
        "__module__": module,
        "__qualname__": name,
        "__doc__": inspect.getdoc(found) if isinstance(found, type) else f"Run {name} of {module}.",
        "__annotations__": {field: kind for field, (kind, _) in fields.items()},
        "name": _kebab_case(name),
        "work": staticmethod(work),
        **{field: _default(value) for field, (_, value) in fields.items() if value is not inspect.Parameter.empty},
    }
    return type(name, (Adapted,), declared)


def _run_class(cls: type[ir.passes.PassBase], model: ir.Model, params: Mapping[str, Any]) -> int:
    return _run(cls(**params), model, {})


def _run(inner: ir.passes.PassBase, model: ir.Model, params: Mapping[str, Any]) -> int:
    result = inner(model)
    if result.model is not model:
        _take_over(model, result.model)
    return int(result.modified)


def _take_over(model: ir.Model, other: ir.Model) -> None:
    """Put what a functional pass returned into the model that it was given, which its callers hold."""
    model.graph = other.graph
    for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(model, name, getattr(other, name))
    model.functions.clear()
    model.functions.update(other.functions)
    metadata = dict(other.metadata_props)
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    model.meta.update(other.meta)


def _rewrite(rules: Any, model: ir.Model, params: Mapping[str, Any]) -> int:
    return int(rules.apply_to_model(model))


def _rules(found: object) -> Any:
    """Return the object as a set of rewrite rules; None if it is not one."""
    from onnxscript.rewriter import RewriteRule, RewriteRuleClassBase, RewriteRuleSet

    if isinstance(found, RewriteRuleSet):
        return found
    given = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    rules: list[Any] = [
        rule.rule() if isinstance(rule, type) and issubclass(rule, RewriteRuleClassBase) else rule  # type: ignore[no-untyped-call]
        for rule in given
    ]
    if rules and all(isinstance(rule, RewriteRule) for rule in rules):
        return RewriteRuleSet(rules)
    return None


def _parameters(name: str, cls: type) -> dict[str, tuple[Any, Any]]:
    """Return the type and the default of each constructor argument that a recipe can store."""
    constructor: Any = cls.__init__  # type: ignore[misc]  # the constructor of the class itself
    try:
        hints = typing.get_type_hints(constructor, include_extras=True)
    except NameError:  # the type is imported under TYPE_CHECKING only
        hints = {}
    found: dict[str, tuple[Any, Any]] = {}
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        kind = hints.get(parameter.name)
        if kind is not None and _is_plain(kind):
            found[parameter.name] = (kind, parameter.default)
        elif parameter.default is parameter.empty:
            raise InputError(
                f"'{name}' requires the argument '{parameter.name}', whose type a recipe cannot store",
                fix="name an instance instead: --pass FILE.py:INSTANCE",
            )
    return found


def _default(value: Any) -> Any:
    """Return the default of a field; lists and dictionaries are copied for each instance."""
    if type(value).__hash__ is None:
        return dataclasses.field(default_factory=functools.partial(copy.copy, value))
    return value


def _is_plain(kind: Any) -> bool:
    """Return whether values of the type can be written as JSON."""
    try:
        msgspec.json.schema(kind)
    except TypeError:
        return False
    return True


def _kebab_case(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return words.replace("_", "-").lower()
