"""The house is in order: rooms on floors, no circle, telling names, and nothing too long.

A room is a package or module directly under nfexport; all of its imports count, those inside functions and those for
type checkers too.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nfexport"

MOST_ROOMS = 26
MOST_FLOORS = 11
MOST_MODULES = 6
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 12

EXCEPTIONS: dict[str, str] = {
    "nfexport.workflows.surgery:surgery": "the steps of a surgery in their order, and 20 lines of docstring",
    "nfexport.workflows.verify:verify": "the steps of a verification in their order, and 20 lines of docstring",
}
"""Functions that are longer, or take more parameters, and why; at most five."""


@functools.cache
def trees() -> dict[str, tuple[Path, ast.Module]]:
    """Return every module of nfexport by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text(encoding="utf-8")))
    return found


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Return which modules of nfexport each of them imports."""
    result: dict[str, set[str]] = {name: set() for name in trees()}
    for name, (_, tree) in trees().items():
        for node in ast.walk(tree):
            wanted: list[str] = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                wanted = [full if full in trees() else node.module for full in inner]
            result[name] |= {target for target in wanted if target in trees() and target != name}
    return result


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def rooms() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for module, targets in arrows().items():
        found[room(module)] |= {room(target) for target in targets} - {room(module)}
    return dict(found)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of the graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_are_few_rooms_on_few_floors() -> None:
    graph = rooms()
    assert len(graph) <= MOST_ROOMS
    floors: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        floors[name] = 1 + max((floors[target] for target in graph.get(name, ())), default=0)
    assert max(floors.values()) <= MOST_FLOORS


def test_no_module_imports_itself_through_others() -> None:
    assert circle(rooms()) == []
    assert circle(arrows()) == []


def test_that_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []


def test_few_modules_stand_beside_the_rooms() -> None:
    names = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert len(names) <= MOST_MODULES, names


def test_a_file_name_tells_the_room() -> None:
    names = Counter(path.name for path in SOURCE.rglob("*.py"))
    assert {name for name, count in names.items() if count > 2} <= {"__init__.py"}


def test_no_file_is_too_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, (path, _) in trees().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, (_, tree) in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}:{node.name}", node


def test_long_functions_and_signatures_are_listed_with_their_reason() -> None:
    found = set()
    for name, node in functions():
        arguments = node.args
        count = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
        length = (node.end_lineno or 0) - node.lineno + 1
        if length > LONGEST_FUNCTION or count > MOST_PARAMETERS:
            found.add(name)
    assert found == set(EXCEPTIONS)
    assert len(EXCEPTIONS) <= 5


@pytest.mark.parametrize("name", ["nfexport.workflows.export:export", "nfexport.workflows.surgery:surgery"])
def test_the_functions_that_had_the_longest_signatures_are_short(name: str) -> None:
    (node,) = [node for other, node in functions() if other == name]
    assert len(node.args.kwonlyargs) <= MOST_PARAMETERS
