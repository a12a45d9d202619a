"""The embeddings of many pictures in one file, row by row: their number is known only at the end.

FILE.npy       float32 [pictures, …], and FILE.pictures.csv beside it, which says what the rows are of
FILE.parquet   the columns picture (string) and embedding (a list of fixed length, float32)
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
from nfexport.images.files import spelled

Add = Callable[[Path, NDArray[Any]], None]
SUFFIXES = (".npy", ".parquet")
OPTION = "--embed"
ROWS = 1024
"""Rows of a parquet file that are written at once."""


def check_embeddings(target: Path) -> None:
    """Raise, before any work is done, InputError for a suffix that has no writer, MissingPackage if the writer's
    package is not installed, OutputError if the file cannot be written."""
    if target.suffix not in SUFFIXES:
        raise InputError(f"embeddings are not written to '{target}'", fix=f"name a {' or '.join(SUFFIXES)} file")
    if target.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingPackage(
            f"{OPTION} {target} needs pyarrow, which is not installed",
            fix="install it with: pip install 'nfexport[parquet]'",
        )
    check_target(target, option=OPTION)


@contextlib.contextmanager
def embeddings(target: Path) -> Iterator[Add]:
    """Yield what takes a picture and its embedding; the file gets its name at the end, if all went well.

    Raises OutputError if no picture came, or the file cannot be written."""
    with (_parquet if target.suffix == ".parquet" else _npy)(target) as add:
        yield add


def names_of(target: Path) -> Path:
    """Return the file that says which pictures the rows of an .npy file are of."""
    return target.with_name(f"{target.stem}.pictures.csv")


@contextlib.contextmanager
def _npy(target: Path) -> Iterator[Add]:
    names = names_of(target)
    with (
        staged(names, option=OPTION) as beside,
        staged(target, option=OPTION) as partial,
        partial.open("w+b") as file,
        beside.open("w", encoding="utf-8", newline="") as listing,
    ):
        rows = csv.writer(listing, lineterminator="\n")
        rows.writerow(["row", "picture"])
        shapes: list[tuple[int, ...]] = []
        count = 0

        def add(picture: Path, embedding: NDArray[Any]) -> None:
            nonlocal count
            if not shapes:
                shapes.append(embedding.shape)
                _header(file, (0, *embedding.shape))
            _check_shape(picture, embedding, shapes[0])
            file.write(np.ascontiguousarray(embedding, "<f4").tobytes())
            rows.writerow([count, spelled(picture)])
            count += 1

        yield add
        if not shapes:
            raise _empty(target)
        start = file.tell() - count * 4 * int(np.prod(shapes[0]))
        file.seek(0)
        _header(file, (count, *shapes[0]))
        assert file.tell() == start  # numpy leaves room for the first axis to grow


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

        def add(picture: Path, embedding: NDArray[Any]) -> None:
            if not writers:
                shapes.append(embedding.shape)
                metadata = {"shape": ",".join(map(str, embedding.shape))}
                column = pa.field("embedding", pa.list_(pa.float32(), embedding.size), metadata=metadata)
                schema = pa.schema([pa.field("picture", pa.string()), column])
                writers.append(stack.enter_context(parquet.ParquetWriter(partial, schema)))
            _check_shape(picture, embedding, shapes[0])
            held.append((spelled(picture), embedding.astype(np.float32).reshape(-1)))
            if len(held) == ROWS:
                flush()

        yield add
        if not writers:
            raise _empty(target)
        if held:
            flush()
        stack.close()


def _check_shape(picture: Path, embedding: NDArray[Any], shape: tuple[int, ...]) -> None:
    if embedding.shape != shape:
        raise InputError(
            f"the embedding of '{picture}' has shape {list(embedding.shape)}, those before it {list(shape)}",
            fix="resize the pictures to one size, or export with --embedding rather than --embedding unpooled",
        )


def _empty(target: Path) -> OutputError:
    return OutputError(f"none of the pictures could be read, so '{target}' was not written", fix="check the pictures")
