"""Turn keyword arguments or a recipe file into a complete, validated request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from nfexport import formats, sources
from nfexport.errors import RecipeError, UnknownOption
from nfexport.inspection import inspect
from nfexport.passes import keywords as pass_keywords
from nfexport.passes import registry
from nfexport.passes.recorded import check
from nfexport.recipe.export_options import ExportOptions, Source, SurgeryOptions
from nfexport.recipe.option import Command, Option
from nfexport.recipe.recipe import Operation, Recipe
from nfexport.recipe.request import RecipeRequest
from nfexport.recipe.tensor_spec import parse_inputs
from nfexport.recipe.validation import check_strings, convert, parse_json, parse_toml, read_text

T = TypeVar("T", ExportOptions, SurgeryOptions)

FIX = "see 'nfexport export --help' for the options and their values"


def export_request(model: str, keywords: Mapping[str, Any], what: str = "the export") -> RecipeRequest:
    """Return the request for an export from the keywords of Source, ExportOptions and the graph passes.

    None stands for an option that was not given. Raises RecipeError for a keyword that is unknown, or a value of
    another type or out of range."""
    sources = {field.name for field in msgspec.structs.fields(Source)} - {"model"}
    source = {"model": model, **{key: _plain(keywords[key]) for key in sources & keywords.keys()}}
    if isinstance(source.get("inputs"), list):
        # one form in a recipe, however it was written
        source["inputs"] = [spec.written() for spec in parse_inputs(map(str, source["inputs"]))]
    rest = {key: value for key, value in keywords.items() if key not in sources}
    options = _options(rest, ExportOptions, "export", what)
    _check_strings({**msgspec.to_builtins(options), "model": model}, what)
    return RecipeRequest(source=convert(_given(source), Source, what, fix=FIX), options=options)


def named_request(model: Any, keywords: dict[str, Any], named: object) -> tuple[object, RecipeRequest]:
    """Return what the user names or hands over himself, None for a recipe, and the request."""
    try:
        if isinstance(model, Recipe | RecipeRequest):
            request = changed_request(model, keywords)
            if isinstance(named, str):
                request = replace(request, source=replace(request.source, model=named))
            return named, request
        if keywords.get("inputs") is not None and not _is_text(keywords["inputs"]):
            from nfexport.sources.model.example_inputs import described_inputs

            batch: Any = keywords.get("batch") or "dynamic"
            keywords["inputs"] = described_inputs(keywords["inputs"], model, batch=batch)
        if isinstance(model, str):
            return model, export_request(model, keywords)
        source = sources.resolve(model)
        naming = getattr(source, "name_of", lambda thing: f"{type(thing).__module__}:{type(thing).__qualname__}")
        return model, export_request(naming(model), keywords)
    except UnknownOption as error:
        raise TypeError(f"export(): {error}") from error


def _is_text(inputs: Any) -> bool:
    return isinstance(inputs, str | list | tuple) and all(isinstance(part, str) for part in inputs)


def changed_request(model: Recipe | RecipeRequest, keywords: dict[str, Any]) -> RecipeRequest:
    """Return the request of a recipe, with keywords in place of what it asks for."""
    if isinstance(model, Recipe):
        check(model)
        request = RecipeRequest.of(model)
    else:
        request = model
    given = {key: value for key, value in keywords.items() if value is not None}
    if not given:
        return request
    before = {name: getattr(request.source, name) for name in request.source.__struct_fields__ if name != "model"}
    before |= {name: getattr(request.options, name) for name in request.options.__struct_fields__}
    passes = {**before.pop("passes"), **given.pop("passes", {})}
    changed = export_request(request.source.model, {**before, **passes, **given})
    return msgspec.structs.replace(changed, operations=request.operations, needs_checkpoint=request.needs_checkpoint)


def surgery_options(keywords: Mapping[str, Any], what: str = "the surgery") -> SurgeryOptions:
    """Return the options of a surgery; see export_request."""
    options = _options(keywords, SurgeryOptions, "surgery", what)
    _check_strings(msgspec.to_builtins(options), what)
    return options


def _check_strings(values: Any, what: str) -> None:
    """Raise RecipeError for a name or label that no recipe may hold, and that no command would read again."""
    check_strings(values, what, fix="use names and labels without control characters and without < > ` [ ]")


def read_request(path: Path) -> RecipeRequest:
    """Return the request in a recipe: the one inside an .onnx file, or a .json or .toml file.

    A .toml or .json file that people write has the keywords of nfexport.export, and `model`:

        model = "nfnet_f0"
        opset = 11
        fold_ws = true

    Raises RecipeError if it cannot be read, OnnxFileError for an .onnx file that is damaged."""
    if path.suffix.lower() == ".onnx":
        facts = inspect(path)
        if facts.recipe_error is not None:
            raise facts.recipe_error
        if facts.recipe is None:
            raise RecipeError(f"'{path}' has no recipe", fix="pass a file that nfexport exported")
        return RecipeRequest.of(facts.recipe)
    text, what = read_text(path), f"'{path}'"
    if path.suffix.lower() == ".toml":
        raw = parse_toml(text, what)
    elif path.suffix.lower() == ".json":
        raw = parse_json(text, what, fix="correct the file")
    else:
        raise RecipeError(f"{what} is not a recipe", fix="pass a .toml, .json or .onnx file")
    if not isinstance(raw, dict):
        raise RecipeError(f"{what} is not a table of options", fix=FIX)
    if "format" in raw:
        recipe = Recipe.from_plain(raw)
        check(recipe)
        return RecipeRequest.of(recipe)
    keywords = {str(key).replace("-", "_"): value for key, value in raw.items()}
    model = keywords.pop("model", None)
    if not isinstance(model, str):
        raise RecipeError(f"{what} does not name a model", fix='add a line such as: model = "nfnet_f0"')
    if isinstance(checkpoint := keywords.get("checkpoint"), str):
        keywords["checkpoint"] = path.parent / checkpoint
    operations = convert(keywords.pop("operations", []), tuple[Operation, ...], what, fix=FIX)
    request = export_request(model, keywords, what)
    return msgspec.structs.replace(request, operations=operations)


def _options(keywords: Mapping[str, Any], kind: type[T], command: Command, what: str) -> T:
    fields: set[str] = {field.name for field in msgspec.structs.fields(kind)} - {"passes"}
    offered: dict[str, Option] = pass_keywords.options(command)
    converting: set[str] = _format_options() if kind is ExportOptions else set()
    own: dict[str, Any] = {}
    passes: dict[str, Any] = convert(_plain(keywords.get("passes") or {}), dict[str, Any], what, fix=FIX)
    to_options: dict[str, Any] = {}
    for key, value in keywords.items():
        if key == "passes" or value is None:
            continue
        if key in fields:
            own[key] = _plain(value)
        elif key in offered:
            passes[key] = value
        elif key in converting:
            to_options[key] = _plain(value)
        else:
            raise pass_keywords.unknown(key, (*fields, *offered), what)
    for key, value in passes.items():
        if key not in offered:
            raise pass_keywords.unknown(key, offered, what)
        passes[key] = pass_keywords.validated(offered[key], _plain(value))
    # a flag that is off, or an empty list, asks for nothing
    passes = {key: value for key, value in passes.items() if not _asks_for_nothing(value) or _is_switch(offered[key])}
    if to_options:
        own["to_options"] = {**own.get("to_options", {}), **to_options}
    extra = convert(own.get("extra_passes", {}), dict[str, dict[str, Any]], what, fix=FIX)
    for name, params in extra.items():
        registry.get(name).checked_params(params)
    found = convert({**own, "passes": passes}, kind, what, fix=FIX)
    # one form in a recipe: an option at its default is left out, whether it was given or not
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    return kind(**{name: value for name, value in msgspec.structs.asdict(found).items() if value != defaults[name]})


def _format_options() -> set[str]:
    return {option.keyword for name in formats.names() for option in formats.get(name).options}


def _asks_for_nothing(value: Any) -> bool:
    return value is False or value in ((), {})


def _is_switch(option: Any) -> bool:
    return bool(option.kind == "switch")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """Return a value as msgspec reads it: paths as strings, sequences as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return value
