"""The record of applied passes in a file's metadata, and its update after a surgery.

A file from nfexport has a recipe; any other file gets a list of operations under `nfexport.surgery`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from nfexport.errors import PassError
from nfexport.passes import registry
from nfexport.passes.recorded import read_recipe
from nfexport.recipe.about import ABOUT_KEY, EVALUATION_KEY
from nfexport.recipe.interface import IN_FRONT, callers_part, front_steps, steps_in_front
from nfexport.recipe.metadata import DIGEST_KEY, EXTERNAL_KEY, RECIPE_KEY, write_recipe
from nfexport.recipe.recipe import SCORES, Operation, Output, PassStep, Preprocessing, Recipe, canonical
from nfexport.recipe.tensor_spec import BATCH, TensorSpec
from nfexport.recipe.validation import convert, parse_json

SURGERY_KEY = "nfexport.surgery"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """The recipe, None for a file from another producer, and the earlier surgery operations on such a file."""

    recipe: Recipe | None
    operations: tuple[Operation, ...]

    @property
    def front(self) -> tuple[PassStep, ...]:
        """The steps that stand in front of the network already, from the network outwards."""
        if self.recipe is not None:
            return front_steps(self.recipe)
        return steps_in_front(step for operation in self.operations for step in operation.steps)


def read_record(metadata: Mapping[str, str]) -> Record:
    """Return the record in a file's metadata. Raises RecipeError if it cannot be read, or was changed."""
    recipe = read_recipe(metadata)
    what = f"the file's record of earlier surgery ('{SURGERY_KEY}')"
    raw = parse_json(metadata.get(SURGERY_KEY, "[]"), what)
    fix = "start from the original file, or delete that entry of its metadata"
    return Record(recipe=recipe, operations=convert(raw, tuple[Operation, ...], what, fix=fix))


def check_once(record: Record, steps: Sequence[PassStep]) -> None:
    """Raise PassError if a step in front of the network has been done, or would stand on the wrong side of
    one that has: a mean in the model's order may not follow a swap of the channels."""
    present = [step.name for step in record.front]
    for step in steps_in_front(steps):
        if step.name in present:
            raise PassError(
                f"the file already {registry.get(step.name).already}",
                fix=f"leave out {registry.get(step.name).options[0].flag}, start from the original file, or pass "
                "--force to do it twice",
            )
        outside = IN_FRONT[IN_FRONT.index(step.name) + 1 :]
        for other in present:
            if other in outside and other != "input-form":
                raise PassError(
                    f"'{step.name}' has to be done before '{other}', and the file already "
                    f"{registry.get(other).already}",
                    fix="start from the original file, and ask for both at once",
                )


def updated_metadata(
    record: Record, operation: Operation, metadata: Mapping[str, str], network: Preprocessing | None
) -> dict[str, str]:
    """Return the metadata of the file after an operation; network is the preprocessing in front of which it was done.

    A part of a model is no longer the model: after extract the recipe is left out, and so are the facts about the
    model. An accuracy was measured of the file before."""
    replaced = {RECIPE_KEY, DIGEST_KEY, SURGERY_KEY, EVALUATION_KEY, EXTERNAL_KEY}
    extracted = any(step.name == "extract" for step in operation.steps)
    kept = {
        key: value for key, value in metadata.items() if key not in replaced and not (extracted and key == ABOUT_KEY)
    }
    if record.recipe is not None and not extracted:
        return kept | write_recipe(_updated_recipe(record.recipe, operation, network))
    return kept | {SURGERY_KEY: canonical((*record.operations, operation))}


def _updated_recipe(recipe: Recipe, operation: Operation, network: Preprocessing | None) -> Recipe:
    steps = operation.steps
    by_name = {step.name: step.params for step in steps}
    names: Mapping[str, str] = by_name.get("rename", {}).get("names", {})
    batch = by_name.get("batch", {}).get("size", recipe.batch)
    outputs = _outputs(recipe.outputs, by_name["head"]) if "head" in by_name else recipe.outputs
    return replace(
        recipe,
        batch=batch,
        opset=by_name.get("convert-opset", {}).get("opset", recipe.opset),
        input_name=names.get(recipe.input_name, recipe.input_name),
        outputs=tuple(replace(output, name=names.get(output.name, output.name)) for output in outputs),
        stored_preprocessing=None
        if recipe.tensors
        else callers_part(network or recipe.preprocessing, steps_in_front(steps)),
        inputs=tuple(_renamed(spec, names, batch) for spec in recipe.tensors) or UNSET,
        operations=(*recipe.operations, operation),
    )


def _renamed(spec: TensorSpec, names: Mapping[str, str], batch: int | str) -> TensorSpec:
    """Return an input after an operation that renames it, or fixes its batch."""
    fixed = tuple(batch if dim == BATCH and isinstance(batch, int) else dim for dim in spec.shape)
    sizes = {name: size for name, size in spec.sizes.items() if name in fixed}
    return replace(spec, name=names.get(spec.name, spec.name), shape=fixed, sizes=sizes)


def _outputs(before: Sequence[Output], head: Mapping[str, object]) -> tuple[Output, ...]:
    logits = head["logits"]
    added: list[Output] = []
    if head["probs"] is not None:
        added.append(Output(kind="probs", name=str(head["probs"])))
    if head.get("sigmoid") is not None:
        added.append(Output(kind="sigmoid", name=str(head["sigmoid"])))
    topk = head["topk"]
    if isinstance(topk, Mapping):
        added.append(Output(kind="topk-values", name=topk["values"], k=topk["k"]))
        added.append(Output(kind="topk-indices", name=topk["indices"], k=topk["k"]))
    if head["keep_logits"]:
        return (*before, *added)
    lone = [output for output in before if output.kind not in SCORES]
    chosen = logits if logits is not None else (lone[0].name if len(lone) == 1 else None)
    position = next((i for i, output in enumerate(before) if output.name == chosen), 0)
    return (*before[:position], *added, *before[position + 1 :])
