"""`nfexport compare A B`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import reporting, seed_option
from nfexport.cli.sections import SectionedCommand, option


@click.command(name="compare", cls=SectionedCommand)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@option(
    "--inputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Run on these: .npz, .npy, a folder of ONNX test sets, images; repeat it for several.  [default: seeded]",
    section="Verification",
)
@option(
    "--input",
    "input_specs",
    multiple=True,
    metavar="NAME=DTYPE[DIM,...]",
    help="What a module of your own takes, where no file on the other side says so.",
    section="Source",
)
@seed_option("Seed of the inputs.")
@option("--rtol", type=click.FloatRange(min=0), help="Fixed relative tolerance.", section="Verification")
@option("--atol", type=click.FloatRange(min=0), help="Fixed absolute tolerance.", section="Verification")
@option(
    "--min-sqnr",
    type=float,
    metavar="DB",
    help="Signal-to-noise ratio that B has to reach, in decibels.  [default: 10 for int8]",
    section="Verification",
)
@option(
    "--bisect", is_flag=True, help="Compare every tensor, and name the first node at fault.", section="Verification"
)
@option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write an HTML page too.",
    section="Reporting",
)
@reporting
def command(a: str, b: str, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Run two models on the same inputs, and say whether they are the same function.

    \b
    A and B are each one of
      model.onnx, model.xml           a file, in ONNX Runtime or the runtime of its format
      model.onnx@openvino             in another runtime; @onnxruntime:opt=off,threads=1
      resnet18, hf-hub:org/name       a model of timm, seeded unless its name has a tag
      best.pth.tar, FILE.py:factory   a checkpoint, or a module of your own
      recipe.toml, recipe.json        the model of a recipe
      outputs.npz, model.golden       recorded outputs

    The reference is a module in float64 or, without one, the graph of a file in float64. Exits with 1 if a side
    is further from it than its precision explains.
    """  # noqa: D301  (click reads the character)
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_comparison import show_comparison, write_page
    from nfexport.verification.tolerance import FixedTolerance
    from nfexport.workflows.compare import compare

    rtol, atol, page = options.pop("rtol"), options.pop("atol"), options.pop("report")
    fixed = None if rtol is None and atol is None else FixedTolerance(rtol=rtol or 0.0, atol=atol or 0.0)
    if page is not None:
        from nfexport.graph.atomic_files import check_target

        check_target(page, option="--report")
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = compare(a, b, tolerance=fixed, progress=progress, **options)
    if page is not None:
        write_page(result, page)
    if as_json:
        print_json(result.to_dict())
    else:
        show_comparison(result, console)
    return result.exit_code
