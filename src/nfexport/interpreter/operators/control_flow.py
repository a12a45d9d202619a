"""Operators with subgraphs, sequences and optional values. A sequence is a list, an absent optional value None."""

from __future__ import annotations

from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch


@operator("If")
def _if(call: OperatorCall, condition: Tensor) -> tuple[Any, ...]:
    return tuple(call.run(call.graph("then_branch" if bool(condition) else "else_branch"), ()))


@operator("Loop")
def _loop(call: OperatorCall, limit: Tensor | None, condition: Tensor | None, *carried: Any) -> tuple[Any, ...]:
    """The body takes the iteration, the condition and the carried values, and returns the condition, those values and
    what is collected, which is stacked along a new first axis."""
    state, count, goes_on = list(carried), 0, condition is None or bool(condition)
    body = call.graph("body")
    collected: list[list[Tensor]] = [[] for _ in body.outputs[1 + len(state) :]]
    while goes_on and (limit is None or count < int(limit)):
        goes_on_now, *results = call.run(body, (torch.tensor(count), torch.tensor(goes_on), *state))
        state = results[: len(state)]
        for kept, value in zip(collected, results[len(state) :], strict=True):
            kept.append(value)
        goes_on, count = bool(goes_on_now), count + 1
    return (*state, *(torch.stack(kept) if kept else torch.zeros(0) for kept in collected))


@operator("Scan", since=8)
def _scan_of_batches(call: OperatorCall, lengths: Tensor | None, *given: Tensor) -> tuple[Tensor, ...]:
    """Up to opset 8 the first axis is a batch, each entry of which is scanned along its first axis."""
    if lengths is not None or any(call.integers("directions") or ()):
        raise call.refuse("lengths or directions")
    entries = [_scan(call, *(value[i] for value in given)) for i in range(given[0].shape[0])]
    return tuple(map(torch.stack, zip(*entries, strict=True)))


@operator("Scan", since=9)
def _scan(call: OperatorCall, *given: Tensor) -> tuple[Tensor, ...]:
    """The last num_scan_inputs inputs are taken apart along an axis, each slice through the body in turn."""
    scanned = call.integer("num_scan_inputs")
    body, state, inputs = call.graph("body"), list(given[:-scanned]), given[-scanned:]
    outputs = len(body.outputs) - len(state)
    axes = [call.integers(f"scan_{end}_axes") or [0] * n for end, n in (("input", scanned), ("output", outputs))]
    backwards = [
        call.integers(f"scan_{end}_directions") or [0] * n for end, n in (("input", scanned), ("output", outputs))
    ]
    slices = [
        list(reversed(value.unbind(axis))) if back else list(value.unbind(axis))
        for value, axis, back in zip(inputs, axes[0], backwards[0], strict=True)
    ]
    collected: list[list[Tensor]] = [[] for _ in range(outputs)]
    for parts in zip(*slices, strict=True):
        results = call.run(body, (*state, *parts))
        state = results[: len(state)]
        for kept, value in zip(collected, results[len(state) :], strict=True):
            kept.append(value)
    return (
        *state,
        *(
            torch.stack(kept[::-1] if back else kept, axis)
            for kept, axis, back in zip(collected, axes[1], backwards[1], strict=True)
        ),
    )


@operator("SequenceConstruct", since=11)
def _sequence_construct(call: OperatorCall, *given: Tensor) -> list[Tensor]:
    return list(given)


@operator("SequenceEmpty", since=11)
def _sequence_empty(call: OperatorCall) -> list[Tensor]:
    return []


@operator("SequenceAt", since=11)
def _sequence_at(call: OperatorCall, sequence: list[Tensor], position: Tensor) -> Tensor:
    return sequence[int(position)]


@operator("SequenceLength", since=11)
def _sequence_length(call: OperatorCall, sequence: list[Tensor]) -> Tensor:
    return torch.tensor(len(sequence))


@operator("SequenceInsert", since=11)
def _sequence_insert(
    call: OperatorCall, sequence: list[Tensor], value: Tensor, position: Tensor | None = None
) -> list[Tensor]:
    place = len(sequence) if position is None else int(position)
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], value, *sequence[place:]]


@operator("SequenceErase", since=11)
def _sequence_erase(call: OperatorCall, sequence: list[Tensor], position: Tensor | None = None) -> list[Tensor]:
    place = (len(sequence) - 1 if position is None else int(position)) % len(sequence)
    return [*sequence[:place], *sequence[place + 1 :]]


@operator("ConcatFromSequence", since=11)
def _concat_from_sequence(call: OperatorCall, sequence: list[Tensor]) -> Tensor:
    return (torch.stack if call.integer("new_axis") else torch.cat)(sequence, call.integer("axis"))


@operator("SplitToSequence", since=11)
def _split_to_sequence(call: OperatorCall, x: Tensor, split: Tensor | None = None) -> list[Tensor]:
    """Without sizes, into single elements; a single number is the size of every part, the last may be smaller."""
    axis = call.integer("axis")
    if split is None:
        return list(torch.split(x, 1, axis) if call.integer("keepdims", 1) else x.unbind(axis))
    return list(torch.split(x, ints(split) if split.dim() else int(split), axis))


@operator("Optional", since=15)
def _optional(call: OperatorCall, value: Any = None) -> Any:
    return value


@operator("OptionalHasElement", since=15)
def _optional_has_element(call: OperatorCall, value: Any = None) -> Tensor:
    return torch.tensor(value is not None)


@operator("OptionalGetElement", since=15)
def _optional_get_element(call: OperatorCall, value: Any) -> Any:
    return value


@operator("SequenceMap", since=17)
def _sequence_map(call: OperatorCall, sequence: list[Tensor], *others: Any) -> tuple[list[Tensor], ...]:
    """Run the body on each element, with the corresponding ones of other sequences and with tensors as they are."""
    rows = [
        call.run(call.graph("body"), (item, *(o[i] if isinstance(o, list) else o for o in others)))
        for i, item in enumerate(sequence)
    ]
    return tuple([row[i] for row in rows] for i in range(len(call.node.outputs)))
