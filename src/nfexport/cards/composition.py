"""Compose everything that a card says from the facts of its file. What the file does not say is called unknown."""

from __future__ import annotations

import shlex

from msgspec import UNSET

from nfexport.cards.command_line import commands
from nfexport.cards.contents import Card, Form, InputForm, Making, Run, Specification
from nfexport.cards.costs import cost_of
from nfexport.cards.input_forms import input_forms, preparation, tensor
from nfexport.cards.markdown import Markdown, code
from nfexport.cards.output_entries import classes, output_entries
from nfexport.cards.snippet import run_on_zeros, runs_on_images
from nfexport.inspection import FileFacts, TensorFacts
from nfexport.recipe.about import About, Accuracy
from nfexport.recipe.recipe import SCORES, Recipe

TIMM = """@misc{rw2019timm,
  author = {Ross Wightman},
  title = {PyTorch Image Models},
  year = {2019},
  publisher = {GitHub},
  journal = {GitHub repository},
  doi = {10.5281/zenodo.4414861},
  howpublished = {\\url{https://github.com/huggingface/pytorch-image-models}}
}"""
"""What timm asks to be cited with; the paper of the network itself is known only from About."""


def describe(facts: FileFacts, *, evaluated: Accuracy | None = None) -> Card:
    """Return what a card says about the file.

    evaluated is a measured accuracy, in place of the one that the file carries."""
    recipe, entry, no_recipe = _recipe_and_input(facts)
    about = facts.about
    form: Form | None = None
    forms: tuple[InputForm, ...] = ()
    runs: tuple[Run, ...]
    imaged = None if recipe is None or recipe.tensors else recipe
    if imaged is not None and entry is not None:
        form, forms = input_forms(imaged, entry)
        runs, no_run = runs_on_images(imaged, facts.path.name)
    else:
        own = tuple(_own_form(given) for given in facts.inputs)
        forms = own
        runs, no_run = run_on_zeros(facts.inputs, facts.path.name)
    measured = evaluated or facts.evaluation
    trained = _trained(recipe)
    card_about = about or About(title=_title(recipe, facts))
    citations = card_about.citations or ((TIMM,) if recipe is not None and recipe.provenance is UNSET else ())
    name = _argument(facts.path.name)
    return Card(
        title=card_about.title,
        summary=card_about.summary or _summary(recipe),
        model=None if recipe is None else recipe.model_name,
        file_name=facts.path.name,
        trained=trained,
        specification=_specification(facts, recipe),
        claimed=card_about.claimed,
        evaluated=measured,
        form=form,
        forms=forms,
        preparation="" if imaged is None else preparation(imaged),
        outputs=output_entries(recipe, facts.outputs),
        kinds=() if recipe is None else tuple(dict.fromkeys(output.kind for output in recipe.outputs)),
        classes=None if recipe is None or not _classifies(recipe) else classes(recipe),
        runs=runs,
        no_run=no_run,
        making=None if recipe is None else _making(recipe, name, about),
        no_recipe=no_recipe,
        verify_command=_verify(recipe, name),
        licence=card_about.licence,
        dataset=card_about.dataset,
        origin=card_about.origin,
        citations=citations,
        unknown=_unknown(facts, recipe, measured),
    )


def _recipe_and_input(facts: FileFacts) -> tuple[Recipe | None, TensorFacts | None, str | None]:
    """Return the recipe, the input that it names, and why there is no recipe, if there is none to use."""
    if facts.recipe_error is not None:
        return None, None, facts.recipe_error.problem
    if facts.recipe is None:
        return None, None, "the file carries no recipe of nfexport"
    recipe = facts.recipe
    given = {spec.name for spec in recipe.tensors} or {recipe.input_name}
    missing = {*given, *(output.name for output in recipe.outputs)} - {
        entry.name for entry in (*facts.inputs, *facts.outputs)
    }
    if missing:
        return None, None, f"the file does not have '{min(missing)}', which its recipe names"
    entry = next((entry for entry in facts.inputs if entry.name == recipe.input_name), None)
    if entry is None:
        return None, None, f"'{recipe.input_name}', which its recipe names, is not an input of the file"
    return recipe, entry, None


def _argument(file_name: str) -> str:
    """Return the name of a file as an argument, which no command takes for an option."""
    return f"./{file_name}" if file_name.startswith("-") else file_name


def _own_form(entry: TensorFacts) -> InputForm:
    return InputForm(title="This file", tensor=tensor(entry), order=None, mean=None, scale=None, this_file=True)


def _title(recipe: Recipe | None, facts: FileFacts) -> str:
    return facts.path.stem if recipe is None else recipe.model_name


def _summary(recipe: Recipe | None) -> str:
    if recipe is None:
        return "A model in ONNX. The file does not say what it was trained on, or for what."
    if recipe.provenance is not UNSET:
        return Markdown(f"The torch module {code(recipe.source.model)}. Its weights are {recipe.weights.describe()}.")
    what = "an image classification" if _classifies(recipe) else "an image feature extraction"
    weights = {
        "seeded": f"Its weights are seeded (seed {recipe.weights.seed}) and untrained: it recognises nothing.",
        "pretrained": f"Its weights are those that timm publishes under the tag {code(recipe.weights.tag or '')}.",
        "checkpoint": "Its weights come from a checkpoint, of which the file records only the digest.",
        "hub": "Its weights are those of a repository of the model hub, whose commit the file records.",
        "module": "Its weights are the module's own, of which the file records only the digest.",
    }[recipe.weights.kind]
    if recipe.weights.kind != "seeded" and recipe.weights.seed is not None:
        weights += f" Its classifier is seeded (seed {recipe.weights.seed}) and untrained."
    return Markdown(f"The {code(recipe.architecture)} architecture of timm as {what} model. {weights}")


def _trained(recipe: Recipe | None) -> bool | None:
    """Say whether the weights are trained: no if they, or those of the classifier, are seeded; None if unknown."""
    if recipe is None:
        return None
    return False if recipe.weights.seed is not None else {"pretrained": True}.get(recipe.weights.kind)


def _classifies(recipe: Recipe) -> bool:
    return any(output.kind in ("logits", *SCORES) for output in recipe.outputs)


def _specification(facts: FileFacts, recipe: Recipe | None) -> Specification:
    documents, timms = cost_of(facts.path, "omz"), cost_of(facts.path, "timm")
    images = recipe.batch if recipe is not None and isinstance(recipe.batch, int) else 1
    by_torch = recipe is not None or facts.producer.lower().startswith("pytorch")
    types = {None: None, True: "Classification", False: "Feature extraction"}
    return Specification(
        type=types[None if recipe is None else _classifies(recipe)],
        framework="PyTorch*" if by_torch else None,
        producer=facts.producer,
        opset=", ".join(f"{domain} {v}" if domain else str(v) for domain, v in facts.opset_imports.items()),
        file_size=facts.total_size,
        image_size=None if recipe is None else recipe.stored_image_size,
        flops=None if documents is None else round(documents.flops / images),
        parameters=None if documents is None else documents.parameters,
        timm_parameters=None if timms is None else timms.parameters,
        timm_macs=None if timms is None else round(timms.macs / images),
        timm_activations=None if timms is None else round(timms.activations / images),
    )


def _making(recipe: Recipe, file_name: str, about: About | None) -> Making:
    return Making(
        commands=commands(recipe, file_name),
        versions=tuple(sorted(recipe.versions.items())),
        weights=recipe.weights.describe().partition(";")[0],
        weights_digest=recipe.weights.digest,
        recipe_digest=recipe.digest,
        preset=None if about is None else about.preset,
    )


def _verify(recipe: Recipe | None, file_name: str) -> str:
    words = ["nfexport", "verify", file_name]
    if recipe is None:
        words += ["--model", "NAME"]
    elif recipe.weights.kind == "checkpoint":
        words += ["--checkpoint", "CHECKPOINT"]
    if recipe is not None and recipe.provenance is not UNSET and recipe.weights.kind != "hub":
        words += ["--model", recipe.source.model]
    return shlex.join(words)


def _unknown(facts: FileFacts, recipe: Recipe | None, measured: Accuracy | None) -> tuple[str, ...]:
    about = facts.about
    missing = {
        "how images become its input": recipe is None and len(facts.inputs) == 1,
        "what its outputs mean": recipe is None,
        "its accuracy": measured is None
        and (about is None or about.claimed is None)
        and _trained(recipe) is not False,
        "its licence": about is None or about.licence is None,
        "the paper to cite": about is None or not about.citations,
    }
    return tuple(what for what, is_missing in missing.items() if is_missing)
