"""Cards as Markdown: a template for each style. Needs Jinja2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.cards import markdown
from nfexport.cards.accuracies import read_accuracy
from nfexport.cards.composition import describe
from nfexport.cards.contents import Card
from nfexport.cards.front_matter import front_matter
from nfexport.cards.styles import SUFFIX, check_style
from nfexport.errors import MissingPackage
from nfexport.inspection import inspect
from nfexport.recipe.about import Accuracy

if TYPE_CHECKING:
    import jinja2


def card(path: str | Path, style: str = "omz", *, evaluation: str | Path | None = None) -> str:
    """Return the model card of an ONNX file in Markdown, from the file alone.

    style names a template ('omz' as in the Open Model Zoo, 'hf' as on the Hugging Face hub). evaluation is a
    file that `nfexport evaluate --json` printed, in place of the accuracy that the ONNX file carries.
    Raises InputError for another style or an evaluation of another file, OnnxFileError if the file cannot be
    read, RecipeError if its recipe cannot, and MissingPackage without Jinja2."""
    check_style(style)
    return render(describe_file(Path(path), evaluation=evaluation), style)


def describe_file(path: Path, *, evaluation: str | Path | None = None) -> Card:
    """Return what the card of a file says, as a value. Raises what card does."""
    facts = inspect(path)
    if facts.recipe_error is not None:
        raise facts.recipe_error
    digest = None if facts.recipe is None else facts.recipe.digest
    measured = None if evaluation is None else read_accuracy(Path(evaluation), recipe_digest=digest)
    return describe(facts, evaluated=measured)


def render(card: Card, style: str) -> str:
    """Return the card in Markdown, with one line feed at the end. Raises MissingPackage without Jinja2."""
    template = _environment().get_template(f"{style}{SUFFIX}")
    text = template.render(card=card, front_matter=lambda: markdown.Markdown(front_matter(card)))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment() -> jinja2.Environment:
    try:
        import jinja2
    except ImportError as error:
        raise MissingPackage(
            "a model card needs jinja2, which is not installed", fix="install it with: pip install 'nfexport[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nfexport.cards"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # that would be for HTML
        finalize=markdown.printed,
    )
    environment.filters |= {
        "markdown": markdown.Markdown,
        "paragraphs": markdown.paragraphs,
        "code": markdown.code,
        "block": markdown.block,
        "address": markdown.address,
        "link_to": lambda url, label: markdown.link(label, url),
        "licence": markdown.licence,
        "numbers": numbers,
        "millions": millions,
        "billions": billions,
        "percent": percent,
        "where": where,
    }
    return environment


def numbers(values: Sequence[float]) -> markdown.Markdown:
    """Return numbers as the documents have them: [123.675,116.28,103.53]."""
    return markdown.Markdown(f"[{','.join(f'{value:.6g}' for value in values)}]")


def millions(count: int | None, digits: int) -> str:
    """Return a count in millions, 'unknown' for None."""
    return "unknown" if count is None else f"{count / 1e6:.{digits}f}"


def billions(count: int | None, digits: int) -> str:
    """Return a count in thousands of millions, 'unknown' for None."""
    return "unknown" if count is None else f"{count / 1e9:.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share that is in per cent already: 83.34%."""
    return "unknown" if share is None else f"{share:.2f}%"


def where(accuracy: Accuracy) -> str:
    """Return what an accuracy was measured on: ' on 360 images of ImageNet-1k'."""
    images = None if accuracy.images is None else f"{accuracy.images:,} images"
    found = " of ".join(filter(None, (images, accuracy.dataset)))
    return f" on {found}" if found else ""
