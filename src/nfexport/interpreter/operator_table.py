"""Which operators have a rule: found by file, without torch.

A rule is a function `rule(call, *inputs)` in a module of operators/, marked with @operator. It is given the node (see
operator_call.py) and its inputs, None for those that are left out, and returns its output, or a tuple of several.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[..., Any]

DEFAULT = ""
"""The domain of ONNX's own operators."""

MICROSOFT = "com.microsoft"
"""The domain of what ONNX Runtime's optimiser writes."""

_RULES: dict[tuple[str, str], dict[int, Rule]] = {}


def operator(*names: str, since: int = 1, domain: str = DEFAULT) -> Callable[[Rule], Rule]:
    """Mark a function as the rule of these operators, from the version of their domain in which they took the form
    that it computes. Raises ValueError if there is another rule of the same version."""

    def mark(rule: Rule) -> Rule:
        for name in names:
            versions = _RULES.setdefault((domain, name), {})
            if since in versions:
                raise ValueError(f"two rules for {name} of version {since}")
            versions[since] = rule
        return rule

    return mark


@functools.cache
def table() -> Mapping[tuple[str, str], Mapping[int, Rule]]:
    """Return the rules of every operator, by domain and name, and then by the version from which on each is valid."""
    for family in families():
        importlib.import_module(f"{__package__}.operators.{family}")
    return _RULES


def families() -> list[str]:
    """Return the names of the modules in operators/, sorted."""
    folder = Path(__file__).parent / "operators"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def find_rule(domain: str, name: str, version: int) -> Rule | None:
    """Return the rule of an operator at a version of its domain; None if there is none."""
    versions = table().get((DEFAULT if domain == "ai.onnx" else domain, name), {})
    fitting = [since for since in versions if since <= version]
    return versions[max(fitting)] if fitting else None
