"""Select the passes for a request, and run them in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from nfexport import extensions
from nfexport.errors import RecipeError
from nfexport.passes import registry
from nfexport.passes.base import Bundle, Pass, Request
from nfexport.recipe.recipe import Origin, PassStep

if TYPE_CHECKING:
    import onnx_ir as ir

    from nfexport.passes.report import PassReport


def plan(
    request: Request, bundles: Collection[Bundle], extra: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Pass, ...]:
    """Return the passes that a request asks for, and those that the bundles imply, in the order in which they run.

    extra names passes that are asked for by name, with their parameters. The user's options are a set, not a script.
    In a surgery, passes bring those along that have to run before them.
    Raises RecipeError for options that contradict each other, parameters that a pass does not take, and a pass that
    is not installed."""
    chosen: dict[str, Pass] = {}
    request = msgspec.structs.replace(request, planned=chosen)
    extra = extra or {}
    classes = registry.all_passes()
    for name in sorted(extra.keys() - {cls.name for cls in classes}):
        raise RecipeError(
            f"the graph pass '{name}' is not installed",
            fix="install the package that adds it, or name its file: --pass FILE.py:CLASS",
        )
    for cls in classes:
        asked = cls.asked(request)
        if cls.name in extra:
            if asked is not None:
                raise RecipeError(
                    f"'{cls.name}' is requested by --pass and by {cls.options[0].flag}", fix="use one of the two"
                )
            chosen[cls.name] = cls.from_params(extra[cls.name])
        elif asked is not None:
            chosen[cls.name] = asked
        elif set(cls.implied_by) & set(bundles) and not (_is_refused(cls, request) or registry.is_of_file(cls)):
            chosen[cls.name] = cls()
    if Bundle.SURGERY in bundles:
        declined = {name for item in chosen.values() for name in item.declines}
        for name in {name for item in chosen.values() for name in item.brings} - declined - chosen.keys():
            chosen[name] = registry.get(name)()
    return tuple(chosen[name] for name in registry.order() if name in chosen)


def oldest_opset(request: Request) -> int:
    """Return the oldest opset at which the passes can do what a request asks for."""
    return max(cls.oldest_opset(request) for cls in registry.all_passes())


def _is_refused(cls: type[Pass], request: Request) -> bool:
    """Return whether the switch of a pass is off: --no-merge-groups."""
    return any(option.kind == "switch" and request.values.get(option.keyword) is False for option in cls.options)


def step_of(item: Pass) -> PassStep:
    """Return the step that a recipe keeps of a pass; one that is not nfexport's is kept with its origin."""
    origin = None if registry.is_built_in(type(item)) else origin_of(item)
    return PassStep(name=item.name, params=msgspec.to_builtins(item.params), origin=origin)


def origin_of(item: Pass) -> Origin:
    """Return where the code of a pass comes from, and what it may change with its parameters."""
    return Origin(**extensions.origin(type(item)), changes=item.what_changes().names())


def run(model: ir.Model, passes: Sequence[Pass], observe: Callable[[str], None] | None = None) -> list[PassReport]:
    """Run the passes in place, in the order given, and return what each reports."""
    reports = []
    for item in passes:
        if observe is not None:
            observe(item.name)
        reports.append(item.apply(model))
    return reports
