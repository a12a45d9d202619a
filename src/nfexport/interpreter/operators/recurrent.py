"""RNN, GRU and LSTM, step by step. Gates are stacked along the first axis of the weights: i o f c, or z r h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch

Activation = Callable[["Tensor"], "Tensor"]


@operator("RNN", "GRU", "LSTM", since=7)
def _recurrent(
    call: OperatorCall,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    *state: Tensor | None,
) -> tuple[Tensor, ...]:
    """x [time, batch, features], with layout = 1 [batch, time, features]; the outputs are the hidden state at every
    step [time, directions, batch, hidden], and the last hidden (and cell) state [directions, batch, hidden].

    state: the initial hidden state, for an LSTM the initial cell state and the peepholes too."""
    swapped = bool(call.integer("layout"))
    x = x.transpose(0, 1) if swapped else x
    count, hidden = weight.shape[0], recurrence.shape[-1]
    backwards = {"forward": [False], "reverse": [True]}.get(call.text("direction", "forward"), [False, True])
    zero = torch.zeros((count, x.shape[1], hidden), dtype=x.dtype)
    starts = [zero if value is None else value.transpose(0, 1) if swapped else value for value in state[:2]]
    starts += [zero] * (2 - len(starts))
    peepholes = state[2] if len(state) > 2 else None
    ys, lasts = [], []
    for d, back in enumerate(backwards):
        cell = _cell(call, d, weight[d], recurrence[d], None if bias is None else bias[d], _of(peepholes, d))
        y, last = _run(call, cell, x, [start[d] for start in starts], lengths, back)
        ys.append(y)
        lasts.append(last)
    result, ends = torch.stack(ys, 1), [torch.stack(parts) for parts in zip(*lasts, strict=True)]
    if swapped:
        result, ends = result.permute(2, 0, 1, 3), [end.transpose(0, 1) for end in ends]
    return result, *(ends if call.node.op_type == "LSTM" else ends[:1])


def _of(tensor: Tensor | None, index: int) -> Tensor | None:
    return None if tensor is None else tensor[index]


def _run(
    call: OperatorCall, cell: Any, x: Tensor, state: list[Tensor], lengths: Tensor | None, back: bool
) -> tuple[Tensor, list[Tensor]]:
    """Run a cell over time; entries of the batch whose length is reached keep their state, and give 0."""
    outputs: list[Tensor] = []
    for step in reversed(range(x.shape[0])) if back else range(x.shape[0]):
        new = cell(x[step], *state)
        if lengths is not None:
            alive = (lengths > step).reshape(-1, 1)
            outputs.append(torch.where(alive, new[0], torch.zeros_like(new[0])))
            new = [torch.where(alive, one, old) for one, old in zip(new, state, strict=True)]
        else:
            outputs.append(new[0])
        state = new
    return torch.stack(outputs[::-1] if back else outputs), state


def _cell(
    call: OperatorCall, d: int, weight: Tensor, recurrence: Tensor, bias: Tensor | None, peepholes: Tensor | None
) -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    """Return the function of one step of a direction: from x, the hidden and the cell state to the new two."""
    kind, hidden = call.node.op_type, recurrence.shape[-1]
    first, second = (None, None) if bias is None else (bias[: len(bias) // 2], bias[len(bias) // 2 :])
    functions = _activations(call, d)
    clip = call.number("clip") if call.has("clip") else None

    def held(value: Tensor) -> Tensor:
        return value if clip is None else value.clamp(-clip, clip)

    def rnn(x: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
        return [functions[0](held(F.linear(x, weight, first) + F.linear(h, recurrence, second))), c]

    def gru(x: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
        f, g = functions
        xz, xr, xh = F.linear(x, weight, first).chunk(3, -1)
        hz, hr, hh = F.linear(h, recurrence, second).chunk(3, -1)
        z, r = f(held(xz + hz)), f(held(xr + hr))
        if not call.integer("linear_before_reset"):
            hh = F.linear(r * h, recurrence[2 * hidden :], None if second is None else second[2 * hidden :])
            return [(1 - z) * g(held(xh + hh)) + z * h, c]
        return [(1 - z) * g(held(xh + r * hh)) + z * h, c]

    def lstm(x: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
        f, g, last = functions
        i, o, forget, new = (F.linear(x, weight, first) + F.linear(h, recurrence, second)).chunk(4, -1)
        p = [0.0, 0.0, 0.0] if peepholes is None else peepholes.chunk(3)
        i, forget = f(held(i + p[0] * c)), f(held(forget + p[2] * c))
        forget = 1 - i if call.integer("input_forget") else forget
        c = forget * c + i * g(held(new))
        return [f(held(o + p[1] * c)) * last(c), c]

    return {"RNN": rnn, "GRU": gru, "LSTM": lstm}[kind]


def _activations(call: OperatorCall, d: int) -> list[Activation]:
    """Return the functions of a direction; parameters are given in order to those functions that take some."""
    default = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[call.node.op_type]
    count = len(default)
    names = (call.texts("activations") or default * 2)[d * count : (d + 1) * count]
    alpha, beta = call.numbers("activation_alpha") or [], call.numbers("activation_beta") or []
    alpha, beta = (list(values[d * count :] if len(values) > count else values) for values in (alpha, beta))
    functions: list[Activation] = []
    for name in names:
        plain = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "softsign": F.softsign}
        if name.lower() in plain:
            functions.append(plain[name.lower()])
            continue
        a, b = (alpha.pop(0) if alpha else None), (beta.pop(0) if beta else None)
        functions.append(_with_parameters(call, name, a, b))
    return functions


def _with_parameters(call: OperatorCall, name: str, alpha: float | None, beta: float | None) -> Activation:
    lower = name.lower()
    if lower == "affine":
        return lambda x: (1.0 if alpha is None else alpha) * x + (0.0 if beta is None else beta)
    if lower == "leakyrelu":
        return lambda x: F.leaky_relu(x, 0.01 if alpha is None else alpha)
    if lower == "hardsigmoid":
        return lambda x: torch.clamp((0.2 if alpha is None else alpha) * x + (0.5 if beta is None else beta), 0, 1)
    if lower == "elu":
        return lambda x: F.elu(x, 1.0 if alpha is None else alpha)
    raise call.refuse(f"the activation {name}")
