"""`nfexport preset …`: documented models, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.declared_options import keywords, options_of
from nfexport.cli.options import reporting, target_option, verifying
from nfexport.cli.sections import SectionedCommand, option

if TYPE_CHECKING:
    from nfexport.presets import Form

FOLDERS = click.option(
    "--preset-dir",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    envvar="NFEXPORT_PRESET_DIR",
    help="Folder with presets of your own; can be repeated.",
)


@click.group(name="preset")
def command() -> None:
    """Export documented models by name, with their interface, figures and weights."""


@command.command(name="list")
@FOLDERS
@reporting
def list_(folders: tuple[Path, ...], as_json: bool, quiet: bool, verbose: bool) -> int:
    """List the presets."""
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_preset import show_presets
    from nfexport.presets import list_presets

    presets = list_presets(folders)
    if as_json:
        print_json([preset.to_dict() for preset in presets])
    else:
        show_presets(Console(quiet=quiet, verbose=verbose).out, presets)
    return 0


@command.command()
@click.argument("name")
@FOLDERS
@reporting
def show(name: str, folders: tuple[Path, ...], as_json: bool, quiet: bool, verbose: bool) -> int:
    """Show the preset NAME: what it fixes."""
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_preset import show_preset
    from nfexport.presets import find_preset

    preset = find_preset(name, folders)
    if as_json:
        print_json(preset.to_dict())
    else:
        show_preset(Console(quiet=quiet, verbose=verbose).out, preset)
    return 0


@command.command(cls=SectionedCommand)
@click.argument("name")
@option(
    "--form",
    type=click.Choice(["original", "converted"]),
    help="original: RGB, normalised outside; converted: BGR in 0..255, everything inside.  [default: the preset's]",
    section="Preprocessing",
)
@target_option("NAME.onnx")
@options_of("export", only=("pretrained", "checkpoint", "seed", "to", "ir_precision", "external_data"))
@verifying
@FOLDERS
@reporting
def export(
    name: str,
    target: Path | None,
    form: Form | None,
    folders: tuple[Path, ...],
    verify: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> int:
    """Export the preset NAME to an ONNX file by its documented interface, and verify it.

    Without --pretrained or --checkpoint the weights are seeded and untrained, which is enough to look at speed and
    interface.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_export import show_export
    from nfexport.presets import find_preset
    from nfexport.workflows.preset import are_documented, export_preset

    preset = find_preset(name, folders)
    asked = keywords("export", values)
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = export_preset(preset, target, form=form, verify=verify, progress=progress, **asked)
    checkpoint = asked.get("checkpoint")
    documented = None if checkpoint is None else are_documented(preset, checkpoint)
    if as_json:
        print_json({**result.to_dict(), "preset": preset.name, "documented_weights": documented})
    else:
        show_export(result, console)
        if documented is not None:
            which = "are" if documented else "are NOT"
            console.out.print(f"the weights {which} {preset.weights.file}, which the preset documents")
    return 0
