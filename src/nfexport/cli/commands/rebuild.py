"""`nfexport rebuild FILE.onnx`."""

from __future__ import annotations

from pathlib import Path

import click

from nfexport.cli.options import reporting, target_option, verifying
from nfexport.cli.sections import SectionedCommand, option


@click.command(name="rebuild", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@target_option("none: only compare")
@option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Weights of a file that was exported from a checkpoint or a folder.",
    section="Source",
)
@option(
    "--model",
    metavar="MODULE:FACTORY",
    help="The factory of your own module, or its .pt2 file, where the recipe names one.",
    section="Source",
)
@option(
    "--pass",
    "pass_files",
    multiple=True,
    metavar="FILE.py:CLASS",
    help="A pass of your own that the recipe names.",
    section="Graph",
)
@verifying
@reporting
def command(
    file: Path,
    target: Path | None,
    checkpoint: Path | None,
    model: str | None,
    pass_files: tuple[str, ...],
    verify: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Build FILE again from the recipe inside it, and compare the two byte by byte.

    Exits with 0 if they are equal, and with 1 and the first difference (version, option, weights or graph) otherwise.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_rebuild import show_rebuild
    from nfexport.passes import registry
    from nfexport.workflows.rebuild import rebuild

    for reference in pass_files:
        registry.load_file(reference)
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = rebuild(file, target, checkpoint=checkpoint, model=model, verify=verify, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        show_rebuild(result, console)
    return result.exit_code
