"""Check a file against its golden, without torch: its facts, and the numbers that it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, GoldenError
from nfexport.goldens import layout
from nfexport.goldens.data_sets import load_data_sets
from nfexport.goldens.fingerprint import Fingerprint, fingerprint
from nfexport.goldens.limits import judge
from nfexport.goldens.manifest import DataSet, Manifest, read_manifest
from nfexport.goldens.vocabulary import printable
from nfexport.runtimes import Session, open_session

Array = NDArray[Any]
Kind = Literal["interface", "opset", "operators", "weights", "recipe", "numbers"]
WITHOUT_NUMBERS: tuple[Kind, ...] = ("operators", "weights", "recipe")
"""Changes that need not change the numbers: --numbers-only ignores them."""

NAMED = 5
"""The number of weights, or fields of the recipe, that are listed by name."""

LONGEST = 80
"""The number of characters shown of a value of the recipe."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between the file and its golden, as a line that can be printed: names in it come from files."""

    kind: Kind
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", printable(self.text))

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenCheck:
    """The result of a check.

    changes are the differences, forgiven those that numbers_only ignores. excess is the largest error, as a multiple
    of what is allowed, None if the file was not run."""

    file: Path
    folder: Path
    manifest: Manifest
    runtime: str
    changes: tuple[Change, ...]
    forgiven: tuple[Change, ...]
    excess: float | None

    @property
    def passed(self) -> bool:
        """Whether no change counts."""
        return not self.changes

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return EXIT_OK if self.passed else EXIT_VERIFICATION

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        finite = self.excess is not None and np.isfinite(self.excess)
        return {
            "file": str(self.file),
            "golden": str(self.folder),
            "reference": self.manifest.reference,
            "runtime": self.runtime,
            "passed": self.passed,
            "excess": self.excess if finite else None,
            "changes": [dataclasses.asdict(change) for change in self.changes],
            "forgiven": [dataclasses.asdict(change) for change in self.forgiven],
        }


def check_golden(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    runtime: str = "onnxruntime",
    numbers_only: bool = False,
) -> GoldenCheck:
    """Check an ONNX file against its golden: interface, opset, operators, weights, recipe, and numbers.

    folder defaults to the file's name with the suffix '.golden'. With numbers_only, changed operators, weights and
    recipes are ignored as long as the numbers are within their limits. A difference is a result that has not passed,
    not an exception. Raises GoldenError if the golden is missing, damaged or of another model, OnnxFileError if the
    file cannot be read, InputError or MissingPackage for a runtime that is not available."""
    file = Path(file)
    place = layout.default_folder(file) if folder is None else Path(folder)
    facts = fingerprint(file)
    if not place.is_dir():
        raise GoldenError(
            f"'{place}', the golden of '{file}', does not exist",
            fix=f"record one with 'nfexport golden record {file}', or name another folder with --golden",
        )
    manifest = read_manifest(place)
    _check_same_model(file, place, manifest, facts)
    batches = load_data_sets(place, manifest)
    found = list(compare_facts(manifest, facts))
    worst: float | None = None
    where = runtime
    if manifest.interface.inputs == facts.interface.inputs:
        session = open_session(file, runtime=runtime)
        where = f"{session.runtime} {session.version}"
        worst, numbers = _run(session, batches)
        found += numbers
    else:
        found.append(Change(kind="numbers", text="not compared, because the inputs of the file differ"))
    forgiven = [change for change in found if numbers_only and change.kind in WITHOUT_NUMBERS]
    return GoldenCheck(
        file=file,
        folder=place,
        manifest=manifest,
        runtime=where,
        changes=tuple(change for change in found if change not in forgiven),
        forgiven=tuple(forgiven),
        excess=worst,
    )


def _check_same_model(file: Path, place: Path, manifest: Manifest, facts: Fingerprint) -> None:
    if manifest.recipe is None or facts.recipe is None:
        return
    model = facts.recipe.get("architecture")
    if model != manifest.model_name:
        raise GoldenError(
            f"the golden '{place}' is of {manifest.model_name}, and '{file}' is {model}",
            fix="name its own golden with --golden, or record it again",
        )


def compare_facts(manifest: Manifest, facts: Fingerprint) -> Iterator[Change]:
    """Yield the differences between a file and its golden, without the numbers."""
    for end in ("inputs", "outputs"):
        was, now = (", ".join(map(str, getattr(side.interface, end))) for side in (manifest, facts))
        if was != now:
            yield Change(kind="interface", text=f"the {end} were {was}, and are {now}")
    for domain in sorted({*manifest.opset_imports, *facts.opset_imports}):
        before, after = manifest.opset_imports.get(domain), facts.opset_imports.get(domain)
        if before != after:
            name = domain or "ai.onnx"
            yield Change(kind="opset", text=f"{name} was {before or 'absent'}, and is {after or 'absent'}")
    yield from _operators(manifest, facts)
    yield from _weights(manifest, facts)
    yield from _recipe(manifest, facts)


def _operators(manifest: Manifest, facts: Fingerprint) -> Iterator[Change]:
    parts = []
    for name in sorted({*manifest.operators, *facts.operators}):
        before, after = manifest.operators.get(name, 0), facts.operators.get(name, 0)
        if before != after:
            parts.append(f"{name} {before} → {after}")
    if parts:
        yield Change(kind="operators", text=", ".join(parts))
    elif manifest.nodes_sha256 != facts.nodes_sha256:
        yield Change(kind="operators", text="the same numbers, but different names, connections or attributes")


def _weights(manifest: Manifest, facts: Fingerprint) -> Iterator[Change]:
    was, now = manifest.weights, facts.weights
    groups = {
        "changed": [name for name in was if name in now and was[name] != now[name]],
        "gone": [name for name in was if name not in now],
        "new": [name for name in now if name not in was],
    }
    for what, names in groups.items():
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            listed = ", ".join(f"'{name}'" for name in sorted(names)[:NAMED])
            yield Change(kind="weights", text=f"{len(names)} of {len(was)} {what}: {listed}{more}")


def _recipe(manifest: Manifest, facts: Fingerprint) -> Iterator[Change]:
    if facts.recipe_problem is not None:
        yield Change(kind="recipe", text=facts.recipe_problem)
        return
    if (manifest.recipe is None) != (facts.recipe is None):
        yield Change(kind="recipe", text="the file has none" if facts.recipe is None else "the file had none")
        return
    was, now = _flat(manifest.recipe or {}), _flat(facts.recipe or {})
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    if names:
        parts = [f"{name} was {_short(was.get(name))}, and is {_short(now.get(name))}" for name in names[:NAMED]]
        more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
        yield Change(kind="recipe", text="; ".join((*parts, *more)))


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe by dotted names; passes as a list of names, and the parameters of each."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": part for name, part in value.items()}
        elif key == "passes" and isinstance(value, list) and all(isinstance(step, Mapping) for step in value):
            flat[key] = [step.get("name") for step in value]
            flat |= {f"passes.{step.get('name')}": step["params"] for step in value if step.get("params")}
        else:
            flat[key] = value
    return flat


def _run(
    session: Session, batches: list[tuple[DataSet, dict[str, Array], dict[str, Array]]]
) -> tuple[float, list[Change]]:
    """Return the largest error as a multiple of what is allowed, and one line for each output beyond its limits."""
    worst = 0.0
    faults: dict[str, list[tuple[float, str]]] = {}
    for data_set, inputs, outputs in batches:
        try:
            actual = session.run(inputs)
        except RuntimeError as error:
            text = f"{session.runtime} stopped on '{data_set.case}' (batch {data_set.batch}): {error}"
            return np.inf, [Change(kind="numbers", text=text)]
        for tensor in data_set.outputs:
            if tensor.name not in actual:
                continue  # reported as a change of the interface
            ratio, reason = judge(actual[tensor.name], outputs[tensor.name], tensor)
            worst = max(worst, ratio)
            if reason:
                where = f"'{tensor.name}' on '{data_set.case}' (batch {data_set.batch}): {reason}"
                faults.setdefault(tensor.name, []).append((ratio, where))
    changes = []
    for found in faults.values():
        text = max(found, key=lambda fault: fault[0])[1]
        changes.append(Change(kind="numbers", text=f"{text} ({len(found)} of {len(batches)} data sets)"))
    return worst, changes
