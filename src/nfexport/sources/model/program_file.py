"""Read a program of torch.export (.pt2) without running code that the file holds.

Loading one with torch alone can: it unpickles some tensors, evaluates sizes as Python expressions, resolves the name
of any function below `torch`, and compiles guards. So the names and expressions of the file are checked first,
tensors are unpickled as weights alone, custom objects are refused, and guards are left out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from nfexport import process
from nfexport.errors import CheckpointError, UnknownModelError
from nfexport.recipe.tensor_spec import BATCH, TensorSpec, TensorType

_TARGET = re.compile(
    r"torch\.ops\.(aten|prim|prims|higher_order|quantized_decomposed|torchvision)\.[A-Za-z_]\w*(\.[A-Za-z_]\w*)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.[a-z]+\d*|torch\.sym_[a-z]+"
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(r"'[a-z]+\d*'")
_SIGNS = re.compile(r"[\w\s(),.=*/+<>-]*")
_WORDS = frozenset(
    [
        "Symbol",
        "Integer",
        "Rational",
        "Float",
        "Add",
        "Mul",
        "Pow",
        "Mod",
        "PythonMod",
        "FloorDiv",
        "ModularIndexing",
        "CleanDiv",
        "CeilDiv",
        "CeilToInt",
        "FloorToInt",
        "IntTrueDiv",
        "FloatTrueDiv",
        "ToFloat",
        "TruncToInt",
        "RoundToInt",
        "Max",
        "Min",
        "Where",
        "Abs",
        "oo",
        "int_oo",
        "true",
        "false",
        "True",
        "False",
        "positive",
        "negative",
        "nonnegative",
        "nonpositive",
        "integer",
        "finite",
        "real",
        "zero",
        "nonzero",
        "extended_real",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "And",
        "Or",
        "Not",
        "precision",
        "PowByNatural",
        "Identity",
        "Half",
        "One",
        "NegativeOne",
        "Zero",
    ]
)


def read_program(path: Path) -> tuple[Any, str]:
    """Return the program in a .pt2 file, and the sha256 of the file.

    Raises UnknownModelError if there is no such file, CheckpointError if it is damaged or would run code."""
    if not path.is_file():
        raise UnknownModelError(f"there is no file '{path}'", fix="check the path of the .pt2 file")
    try:
        _check(path)
        with _weights_alone(path), process.warnings_ignored(), process.quiet_loggers("torch.export", "torch._export"):
            program = torch.export.load(path)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"'{path}' is damaged, or not a program of torch.export ({lines[0].rstrip('.')[:200]})",
            fix="save it again with torch.export.save and this version of torch",
        ) from error
    return program, hashlib.sha256(path.read_bytes()).hexdigest()


def module_of(program: Any) -> torch.nn.Module:
    """Return a program as a module in evaluation mode, without the code of its guards."""
    module: torch.nn.Module = program.module(check_guards=False)
    for child in module.modules():
        child.training = False
    return module


def program_inputs(program: Any) -> tuple[TensorSpec, ...]:
    """Return the inputs that a program was exported with; a first axis that is symbolic in all of them is the batch.

    Raises CheckpointError for an input that is not a tensor."""
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [(name, places[name].meta.get("val")) for name in program.graph_signature.user_inputs]
    if wrong := [name for name, value in values if not isinstance(value, torch.Tensor)]:
        raise CheckpointError(
            f"the input '{wrong[0]}' of the program is not a tensor", fix="export it again with tensors as inputs"
        )
    examples = list(_tensors(program.example_inputs))
    firsts = {str(value.shape[0]) if value.ndim and not _is_fixed(value.shape[0]) else "" for _, value in values}
    names = {firsts.pop(): BATCH} if len(firsts) == 1 and "" not in firsts else {}
    specs = []
    for index, (name, value) in enumerate(values):
        sizes: dict[str, int] = {}
        shape: list[int | str] = []
        for axis, dim in enumerate(value.shape):
            if _is_fixed(dim):
                shape.append(int(dim))
                continue
            label = names.setdefault(str(dim), f"size_{len(names)}")
            shape.append(label)
            sizes[label] = max(2, int(examples[index].shape[axis])) if index < len(examples) else 2
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype not in TensorType.__args__:  # type: ignore[attr-defined]
            raise CheckpointError(f"the input '{name}' of the program is {dtype}", fix="export it with another type")
        specs.append(TensorSpec(name=name, dtype=dtype, shape=tuple(shape), sizes=sizes))  # type: ignore[arg-type]
    return tuple(specs)


def program_keywords(program: Any, inputs: Sequence[str]) -> tuple[str | None, ...]:
    """Return the parameter that each input of a program is passed to, None where it is passed by its position."""
    spec = program.call_spec.in_spec
    if spec is None or len(inputs) != len(program.graph_signature.user_inputs):
        return (None,) * len(inputs)
    _, named = spec.unflatten(list(range(spec.num_leaves)))
    by_place = {place: key for key, place in named.items() if isinstance(place, int)}
    return tuple(by_place.get(place) for place in range(len(inputs)))


def _is_fixed(dim: Any) -> bool:
    return isinstance(dim, int) or (hasattr(dim, "node") and dim.node.maybe_as_int() is not None)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _check(path: Path) -> None:
    """Raise CheckpointError if the file names a function or an expression that an exported program does not have."""
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.endswith((".json", "/model.json"))]
        for name in found:
            pending = [json.loads(archive.read(name))]
            while pending:
                value = pending.pop()
                if isinstance(value, dict):
                    _check_names(path, value)
                    pending += value.values()
                elif isinstance(value, list):
                    pending += value


def _check_names(path: Path, entry: dict[str, Any]) -> None:
    target, expression = entry.get("target"), entry.get("expr_str")
    if isinstance(target, str) and "inputs" in entry and not _TARGET.fullmatch(target):
        raise _refused(path, f"it calls '{target[:60]}'")
    if isinstance(expression, str):
        bare = _QUOTED.sub("", expression)
        if not _SIGNS.fullmatch(bare) or not set(_WORD.findall(bare)) - {"s", "u"} <= _WORDS:
            raise _refused(path, "it holds an expression that is not a size")
    if entry.get("use_pickle") is True and "custom_obj" in str(entry.get("path_name", "")):
        raise _refused(path, "it holds a custom object")


def _refused(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}' is refused, since loading it may run code: {reason}",
        fix="export a factory instead (FILE.py:FACTORY), where you trust it",
    )


@contextlib.contextmanager
def _weights_alone(path: Path) -> Iterator[None]:
    """Let torch unpickle tensors alone, and nothing else, until the block ends."""
    load = torch.load

    def load_weights(*args: Any, **kwargs: Any) -> Any:
        return load(*args, **{**kwargs, "weights_only": True})

    def refuse(*_: Any, **__: Any) -> Any:
        raise _refused(path, "it holds a custom object")

    with contextlib.ExitStack() as stack:
        stack.enter_context(process.attribute(torch, "load", load_weights))
        stack.enter_context(process.attribute(pickle, "loads", refuse))
        if hasattr(torch._C, "_pickle_load_obj"):
            stack.enter_context(process.attribute(torch._C, "_pickle_load_obj", refuse))
        yield
