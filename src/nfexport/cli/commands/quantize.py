"""`nfexport quantize FILE -o OUT --calibrate DIR|N`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import reporting
from nfexport.cli.quantize_options import calibrating


@click.command(name="quantize", short_help="Write an int8 form of a folded file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), required=True, help="File to write.")
@calibrating
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of seeded pictures.")
@reporting
def command(
    file: Path,
    target: Path,
    calibrate: Path | int | None,
    keep_float: tuple[str, ...],
    keep_worst: int | None,
    calibration_method: Any,
    seed: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write an int8 form of FILE, a float32 file of nfexport's whose weights are folded.

    Static and per channel, by ONNX Runtime's quantiser, in QDQ form. The first and the last layer stay in float,
    and the worst by error. The outcome is proven to be FILE but for rounding; how far it is off is shown.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_quantization import show_quantization
    from nfexport.errors import EXIT_OK, RecipeError
    from nfexport.quantization.operation import quantize

    if calibrate is None:
        raise RecipeError("nothing shows how large the tensors get", fix="pass --calibrate DIR, or N seeded pictures")
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = quantize(
            file,
            target,
            calibrate=calibrate,
            keep_float=keep_float,
            keep_worst=keep_worst,
            method=calibration_method or "minmax",
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        show_quantization(result, console)
    return EXIT_OK
