"""`nfexport card FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from nfexport.cards.styles import available_styles
from nfexport.cli.options import reporting


@click.command(name="card")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), help="File to write. [default: stdout]")
@click.option(
    "--style",
    type=click.Choice(available_styles()),
    default="omz",
    show_default=True,
    help="omz: as in the Open Model Zoo; hf: as on the Hugging Face hub.",
)
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output of 'nfexport evaluate --json', in place of the accuracy that the file carries.",
)
@reporting
def command(
    file: Path,
    target: Path | None,
    style: str,
    evaluation: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write a Markdown model card of any ONNX file, from the file alone.

    The card says "unknown" where the file does not say.
    """
    from nfexport.cards.document import describe_file, render
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_card import show_card
    from nfexport.graph.atomic_files import check_target, staged

    if target is not None:
        check_target(target)
    card = describe_file(file, evaluation=evaluation)
    text = render(card, style)
    if target is not None:
        with staged(target) as partial:
            partial.write_text(text, encoding="utf-8")
    if as_json:
        written = None if target is None else str(target)
        print_json({"style": style, "path": written, "card": card.to_dict(), "markdown": text})
    elif target is not None:
        show_card(card, target, Console(quiet=quiet, verbose=verbose))
    elif not quiet:
        click.echo(text, nl=False)
    return 0
