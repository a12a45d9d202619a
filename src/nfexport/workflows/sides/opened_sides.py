"""From how the sides are written to what they are: a file first, since it says what a module has to be built for."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport import formats
from nfexport.workflows.sides.file_sides import file_side
from nfexport.workflows.sides.module_sides import module_side
from nfexport.workflows.sides.recordings import is_recording, recorded_side
from nfexport.workflows.sides.side import FileSide, Side
from nfexport.workflows.sides.side_name import TORCH, SideName


def open_sides(names: Sequence[SideName], *, inputs: Sequence[str] = ()) -> tuple[Side, ...]:
    """Return what two names stand for.

    inputs describe what a user's own module takes, where no file on the other side says so. A module that stands
    next to a file is built for its images, its classes and its outputs.
    Raises InputError, or another NfexportError, that names the side."""
    sides: dict[int, Side] = {index: file_side(name) for index, name in enumerate(names) if _is_file(name)}
    for index, name in enumerate(names):
        if index not in sides and not is_recording(name.path):
            beside = next((side for side in sides.values() if isinstance(side, FileSide)), None)
            sides[index] = module_side(name, beside, inputs)
    for index, name in enumerate(names):
        if index not in sides:
            beside_it = next((side for at, side in sides.items() if at != index), None)
            sides[index] = recorded_side(name, None if beside_it is None else beside_it.claim)
    return tuple(sides[index] for index in range(len(names)))


def _is_file(name: SideName) -> bool:
    """Say whether a side is a file for a runtime: ONNX, or of a format that an export can be converted to."""
    if name.where == TORCH:
        return False
    return name.path.suffix == ".onnx" or (name.path.suffix != "" and formats.of_file(name.path) is not None)
