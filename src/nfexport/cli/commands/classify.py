"""`nfexport classify FILE IMAGE…`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.escaping import plain
from nfexport.cli.options import reporting
from nfexport.cli.sections import SectionedCommand, option
from nfexport.cli.verify_options import check_providers
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, InputError
from nfexport.runtimes import runtimes

if TYPE_CHECKING:
    from nfexport.cli.show_predictions import Printer
    from nfexport.images.classify.classifier import Classifier, Prediction
    from nfexport.images.classify.inference import ImageOutputs, Skipped
    from nfexport.progress import Progress


@click.command(name="classify", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, metavar="IMAGE...")
@option("--stdin", is_flag=True, help="Read paths from standard input, one per line, as for '-'.", section="Images")
@option(
    "--top",
    type=click.IntRange(min=1),
    help="Classes per image.  [default: 5, or all if there are fewer]",
    section="Outputs",
)
@option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Class names, one per line or as JSON.  [default: the recipe's]",
    section="Outputs",
)
@option(
    "--embed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write embeddings: .npy or .parquet.",
    section="Outputs",
)
@option(
    "--save-features",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write feature maps: one .npz per image.",
    section="Outputs",
)
@option(
    "--batch",
    type=click.IntRange(min=1),
    help="Images per run.  [default: the file's fixed batch size, or 1]",
    section="Execution",
)
@option(
    "--runtime",
    default="onnxruntime",
    show_default=True,
    metavar="NAME",
    help=f"One of {', '.join(runtimes())}.",
    section="Execution",
)
@option(
    "--provider",
    "providers",
    metavar="NAME",
    multiple=True,
    help="Execution provider of ONNX Runtime, such as cuda; repeat it by preference.  [default: cpu]",
    section="Execution",
)
@option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Print CSV: image, rank, class, label, probability.",
    section="Reporting",
)
@reporting
def command(file: Path, images: tuple[str, ...], **options: Any) -> int:
    """Print the top classes of each IMAGE: a file, a folder, a quoted pattern such as 'photos/**/*.jpg', or - for a
    list on standard input. Does not need torch.

    The recipe in FILE says how images are prepared and what the classes are called. Exits with 1 if an image could
    not be read; the others are classified all the same.
    """
    from nfexport.cli.console import Console
    from nfexport.images.classify.classifier import open_classifier
    from nfexport.images.files import STDIN, find_images

    if options["as_json"] and options["as_csv"]:
        raise InputError("--json and --csv are two formats of one output", fix="pass one of them")
    arguments = (*images, STDIN) if options["stdin"] else images
    if not arguments:
        raise InputError("no images were named", fix="name files, folders or patterns, or pass --stdin")
    check_providers((options["runtime"],), options["providers"])
    found = find_images(arguments, sys.stdin.buffer if STDIN in arguments else None)
    classifier = open_classifier(file, runtime=options["runtime"], providers=options["providers"])
    predict = _predictor(classifier, options)
    results = classifier.infer(found, batch=options["batch"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(results))
        writers = _writers(classifier, options, stack)
        printer = _printer(classifier, options)
        # results on a terminal show the progress themselves
        shows_results = options["as_json"] or options["as_csv"] or predict is not None
        quiet = options["quiet"] or (shows_results and sys.stdout.isatty())
        progress = stack.enter_context(Console(quiet=quiet, verbose=options["verbose"]).live())
        read, skipped = _classify(results, predict, printer, writers, progress)
    printer.end(
        {
            "images_read": read,
            "embeddings": None if options["embed"] is None else str(options["embed"]),
            "features": None if options["save_features"] is None else str(options["save_features"]),
        }
    )
    return EXIT_VERIFICATION if skipped else EXIT_OK


def _classify(
    results: Iterable[ImageOutputs | Skipped],
    predict: Callable[[ImageOutputs], Prediction] | None,
    printer: Printer,
    writers: list[Callable[[ImageOutputs], None]],
    progress: Progress | None,
) -> tuple[int, int]:
    """Print and write each result; return how many images were read and how many were skipped."""
    from nfexport.images.classify.classifier import Prediction
    from nfexport.images.classify.inference import Skipped

    read = skipped = 0
    for result in results:
        if isinstance(result, Skipped):
            skipped += 1
            printer.skip(result)
            click.echo(plain(f"nfexport: {result.error}"), file=sys.stderr)  # rich prints it above the progress
        else:
            read += 1
            printer.show(predict(result) if predict else Prediction(image=result.image, classes=()))
            for write in writers:
                write(result)
        if progress is not None:
            progress.step(f"{read + skipped:,} images")
    return read, skipped


def _predictor(classifier: Classifier, options: Mapping[str, Any]) -> Callable[[ImageOutputs], Prediction] | None:
    """Return the function that makes predictions, or None for a file without classes whose outputs are only saved."""
    saves = options["embed"] is not None or options["save_features"] is not None
    top, labels = options["top"], options["labels"]
    if saves and not classifier.description.scores and top is None and labels is None:
        return None
    return classifier.predictor(top=top, labels=labels)


def _writers(
    classifier: Classifier, options: Mapping[str, Any], stack: contextlib.ExitStack
) -> list[Callable[[ImageOutputs], None]]:
    """Return the functions that write the outputs of an image; their files are complete when the stack is closed."""
    writers: list[Callable[[ImageOutputs], None]] = []
    description = classifier.description
    embed, save_features = options["embed"], options["save_features"]
    if embed is not None:
        from nfexport.images.classify.embeddings import check_embeddings, embeddings

        description.check_embedding()
        check_embeddings(embed)
    if save_features is not None:
        from nfexport.images.classify.feature_maps import check_folder, feature_maps

        description.check_features()
        check_folder(save_features)
        add_maps = stack.enter_context(feature_maps(save_features, [output.name for output in description.features]))
        writers.append(lambda result: add_maps(result.image, result.outputs))
    if embed is not None and description.embedding is not None:
        name = description.embedding.name
        add_row = stack.enter_context(embeddings(embed))
        writers.append(lambda result: add_row(result.image, result.outputs[name]))
    return writers


def _printer(classifier: Classifier, options: Mapping[str, Any]) -> Printer:
    from nfexport.cli.show_predictions import CsvRows, JsonDocument, Quiet, Tables

    session = classifier.session
    head: Mapping[str, Any] = {
        "file": str(classifier.path),
        "model": classifier.description.model_name,
        "runtime": f"{session.runtime} {session.version}",
    }
    if options["as_json"]:
        return JsonDocument(sys.stdout, head)
    if options["as_csv"]:
        return CsvRows(sys.stdout)
    return Quiet() if options["quiet"] else Tables(sys.stdout, head if options["verbose"] else {})
