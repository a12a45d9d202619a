"""`nfexport classify FILE PICTURE…`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.options import reporting
from nfexport.cli.verify_options import check_providers
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, InputError
from nfexport.runtimes import runtimes

if TYPE_CHECKING:
    from nfexport.cli.show_predictions import Printer
    from nfexport.images.classify.classifier import OpenFile, Prediction
    from nfexport.images.classify.inference import Answer


@click.command(name="classify", short_help="Say what is on pictures.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("pictures", nargs=-1, metavar="PICTURE...")
@click.option("--stdin", is_flag=True, help="Read paths from standard input, one a line; so does '-'.")
@click.option(
    "--top", type=click.IntRange(min=1), help="How many classes of each picture. [default: 5, or all if fewer]"
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes: one a line, or JSON. [default: the recipe's]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="How many pictures run at once. [default: what the file asks for, else 1]",
)
@click.option(
    "--runtime",
    default="onnxruntime",
    show_default=True,
    metavar="NAME",
    help=f"{', '.join(runtimes())}.",
)
@click.option(
    "--provider",
    "providers",
    metavar="NAME",
    multiple=True,
    help="Execution provider of ONNX Runtime, such as cuda; several in order of preference. [default: cpu]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print rows of picture, rank, class, label and probability.")
@click.option("--embed", type=click.Path(path_type=Path), metavar="FILE", help="Write embeddings: .npy or .parquet.")
@click.option(
    "--save-features", type=click.Path(path_type=Path), metavar="DIR", help="Write feature maps: one .npz a picture."
)
@reporting
def command(
    file: Path,
    pictures: tuple[str, ...],
    stdin: bool,
    top: int | None,
    labels: Path | None,
    batch: int | None,
    runtime: str,
    providers: tuple[str, ...],
    as_csv: bool,
    embed: Path | None,
    save_features: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Say what is on each PICTURE: a file, a folder, a quoted pattern such as 'photos/**/*.jpg', or - for a
    list on standard input. Needs no torch.

    The recipe in FILE says how pictures are prepared and what the classes are called. Exits with 1 if
    pictures could not be read; the others are told all the same.
    """
    from nfexport.cli.console import Console
    from nfexport.images.classify.classifier import Prediction, open_file
    from nfexport.images.classify.inference import Skipped
    from nfexport.images.files import STDIN, find_images

    if as_json and as_csv:
        raise InputError("--json and --csv are two forms of one output", fix="pass one of them")
    words = (*pictures, STDIN) if stdin else pictures
    if not words:
        raise InputError("no pictures were named", fix="name files, folders or patterns, or pass --stdin")
    check_providers((runtime,), providers)
    found = find_images(words, sys.stdin.buffer if STDIN in words else None)
    opened = open_file(file, runtime=runtime, providers=providers)
    predict = _predictor(opened, top=top, labels=labels, writes=embed is not None or save_features is not None)
    answers = opened.answers(found, batch=batch)
    read = skipped = 0
    with contextlib.ExitStack() as stack:
        takers = _takers(opened, embed, save_features, stack)
        printer = _printer(opened, as_json=as_json, as_csv=as_csv, quiet=quiet, verbose=verbose)
        # results on a terminal show how far it is
        talks = (as_json or as_csv or predict is not None) and sys.stdout.isatty()
        progress = stack.enter_context(Console(quiet=quiet or talks, verbose=verbose).live())
        for answer in answers:
            if isinstance(answer, Skipped):
                skipped += 1
                printer.skip(answer)
                click.echo(f"nfexport: {answer.error}", file=sys.stderr)  # above the progress, where that is shown
            else:
                read += 1
                printer.show(predict(answer) if predict else Prediction(picture=answer.picture, classes=()))
                for take in takers:
                    take(answer)
            if progress is not None:
                progress.step(f"{read + skipped:,} pictures")
    printer.end(
        {
            "pictures_read": read,
            "embeddings": None if embed is None else str(embed),
            "features": None if save_features is None else str(save_features),
        }
    )
    return EXIT_VERIFICATION if skipped else EXIT_OK


def _predictor(
    opened: OpenFile, *, top: int | None, labels: Path | None, writes: bool
) -> Callable[[Answer], Prediction] | None:
    """Return what makes predictions; None for a file without classes of which something else is wanted."""
    if writes and not opened.description.scores and top is None and labels is None:
        return None
    return opened.namer(top=top, labels=labels)


def _takers(
    opened: OpenFile, embed: Path | None, save_features: Path | None, stack: contextlib.ExitStack
) -> list[Callable[[Answer], None]]:
    """Return what writes of each answer; the files are finished when the stack is."""
    takers: list[Callable[[Answer], None]] = []
    description = opened.description
    if embed is not None:
        from nfexport.images.classify.embeddings import check_embeddings, embeddings

        description.check_embedding()
        check_embeddings(embed)
    if save_features is not None:
        from nfexport.images.classify.feature_maps import check_folder, feature_maps

        description.check_features()
        check_folder(save_features)
        add_maps = stack.enter_context(feature_maps(save_features, [output.name for output in description.features]))
        takers.append(lambda answer: add_maps(answer.picture, answer.outputs))
    if embed is not None and description.embedding is not None:
        name = description.embedding.name
        add_row = stack.enter_context(embeddings(embed))
        takers.append(lambda answer: add_row(answer.picture, answer.outputs[name]))
    return takers


def _printer(opened: OpenFile, *, as_json: bool, as_csv: bool, quiet: bool, verbose: bool) -> Printer:
    from nfexport.cli.show_predictions import CsvRows, JsonDocument, Quiet, Tables

    session = opened.session
    head: Mapping[str, Any] = {
        "file": str(opened.path),
        "model": opened.description.model_name,
        "runtime": f"{session.runtime} {session.version}",
    }
    if as_json:
        return JsonDocument(sys.stdout, head)
    if as_csv:
        return CsvRows(sys.stdout)
    return Quiet() if quiet else Tables(sys.stdout, head if verbose else {})
