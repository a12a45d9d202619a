"""Write the embeddings of many images to one file, row by row, as their number is known only at the end.

FILE.npy       float32 [images, …], with FILE.images.csv next to it, which names the image of each row
FILE.parquet   the columns image (string) and embedding (a list of fixed length, float32)
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nfexport.errors import InputError, MissingPackage, OutputError
from nfexport.graph.atomic_files import check_target, staged
from nfexport.images.files import printable

Add = Callable[[Path, NDArray[Any]], None]
SUFFIXES = (".npy", ".parquet")
OPTION = "--embed"
ROWS = 1024
"""Rows per row group of a parquet file."""


def check_embeddings(target: Path) -> None:
    """Check that embeddings can be written to this file, before any work is done.

    Raises InputError for an unknown suffix, MissingPackage if the writer's package is not installed, OutputError if
    the file cannot be written."""
    if target.suffix not in SUFFIXES:
        raise InputError(f"embeddings cannot be written to '{target}'", fix=f"name a {' or '.join(SUFFIXES)} file")
    if target.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingPackage(
            f"{OPTION} {target} needs pyarrow, which is not installed",
            fix="install it with: pip install 'nfexport[parquet]'",
        )
    check_target(target, option=OPTION)


@contextlib.contextmanager
def embeddings(target: Path) -> Iterator[Add]:
    """Yield a function that adds an image and its embedding; the file appears when the block ends without an error.

    Raises OutputError if nothing was added, or the file cannot be written."""
    with (_parquet if target.suffix == ".parquet" else _npy)(target) as add:
        yield add


def listing_path(target: Path) -> Path:
    """Return the path of the list that names the image of each row of an .npy file."""
    return target.with_name(f"{target.stem}.images.csv")


@contextlib.contextmanager
def _npy(target: Path) -> Iterator[Add]:
    names = listing_path(target)
    with (
        staged(names, option=OPTION) as partial_listing,
        staged(target, option=OPTION) as partial,
        partial.open("w+b") as file,
        partial_listing.open("w", encoding="utf-8", newline="") as listing,
    ):
        rows = csv.writer(listing, lineterminator="\n")
        rows.writerow(["row", "image"])
        shapes: list[tuple[int, ...]] = []
        count = 0

        def add(image: Path, embedding: NDArray[Any]) -> None:
            nonlocal count
            if not shapes:
                shapes.append(embedding.shape)
                _header(file, (0, *embedding.shape))
            _check_shape(image, embedding, shapes[0])
            file.write(np.ascontiguousarray(embedding, "<f4").tobytes())
            rows.writerow([count, printable(image)])
            count += 1

        yield add
        if not shapes:
            raise _empty(target)
        start = file.tell() - count * 4 * int(np.prod(shapes[0]))
        file.seek(0)
        _header(file, (count, *shapes[0]))
        assert file.tell() == start  # numpy's header leaves room for the first axis to grow


def _header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


@contextlib.contextmanager
def _parquet(target: Path) -> Iterator[Add]:
    import pyarrow as pa
    from pyarrow import parquet

    with staged(target, option=OPTION) as partial, contextlib.ExitStack() as stack:
        writers: list[Any] = []
        shapes: list[tuple[int, ...]] = []
        held: list[tuple[str, NDArray[Any]]] = []

        def flush() -> None:
            schema = writers[0].schema
            flat = pa.array(np.concatenate([row for _, row in held]), pa.float32())
            lists = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type)
            names = pa.array([name for name, _ in held], pa.string())
            writers[0].write_table(pa.table([names, lists], schema=schema))
            held.clear()

        def add(image: Path, embedding: NDArray[Any]) -> None:
            if not writers:
                shapes.append(embedding.shape)
                metadata = {"shape": ",".join(map(str, embedding.shape))}
                column = pa.field("embedding", pa.list_(pa.float32(), embedding.size), metadata=metadata)
                schema = pa.schema([pa.field("image", pa.string()), column])
                writers.append(stack.enter_context(parquet.ParquetWriter(partial, schema)))
            _check_shape(image, embedding, shapes[0])
            held.append((printable(image), embedding.astype(np.float32).reshape(-1)))
            if len(held) == ROWS:
                flush()

        yield add
        if not writers:
            raise _empty(target)
        if held:
            flush()
        stack.close()


def _check_shape(image: Path, embedding: NDArray[Any], shape: tuple[int, ...]) -> None:
    if embedding.shape != shape:
        raise InputError(
            f"the embedding of '{image}' has shape {list(embedding.shape)}, those before it have {list(shape)}",
            fix="resize the images to one size, or export with --embedding rather than --embedding unpooled",
        )


def _empty(target: Path) -> OutputError:
    return OutputError(f"no image could be read, so '{target}' was not written", fix="check the images")
