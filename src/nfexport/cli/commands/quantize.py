"""`nfexport quantize FILE -o OUT --calibrate DIR|N`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import reporting
from nfexport.cli.quantize_options import quantize_options


@click.command(name="quantize")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), required=True, help="File to write.")
@quantize_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the seeded images.")
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
    """Write an int8 form of FILE, a float32 file that nfexport exported with folded weights.

    Static and per channel, by ONNX Runtime's quantiser, as a QDQ graph. The first and the last layer stay in float,
    and the noisiest. The int8 graph is proven to equal FILE except for rounding, and its error is shown.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_quantization import show_quantization
    from nfexport.errors import EXIT_OK, RecipeError
    from nfexport.quantization.operation import quantize

    if calibrate is None:
        raise RecipeError(
            "int8 needs images to take the range of each tensor from",
            fix="pass --calibrate DIR, or N for seeded images",
        )
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
