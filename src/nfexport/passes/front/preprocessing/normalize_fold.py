"""Move a normalisation into the first convolutions, as far as that is exact.

    Conv((x − m)/s, w) + b  =  Conv(x − m, w') + b,       w'[o,i] = w[o,i] / s[i]
                            =  Conv(x, w') + b',          b'[o] = b[o] − Σ w'[o,i,·,·]·m[i]

i runs over the image's channels; in a grouped convolution the group of o picks them. The first line always
holds. The second needs every cell that the convolution sees to be a pixel: a cell padded with c, in units of
the normalised image, is c·s[i] + m[i] in units of x. So the mean goes into the bias

    where nothing is padded, or a Pad repeats the image's own pixels (reflect, edge),
    where all channels share c·s[i] + m[i], which becomes the constant of the Pad; a convolution's own zeros
    (c = 0) move into a new Pad, at most one,

and otherwise stays one Sub in front, behind which a padded cell is c·s[i]: zero stays zero. A plain bias under
zero padding is exact inside the image and wrong at its border. With m = 0 there is nothing to subtract.
"""

from __future__ import annotations

import msgspec

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import relative_error, round_once, set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.front.preprocessing.first_convolutions import Branch, first_convolutions
from nfexport.passes.front.preprocessing.graph_head import Head
from nfexport.passes.front.preprocessing.padding import (
    explicit_pads,
    fill_value,
    pads_itself,
    put_pad_in_front,
    set_fill_value,
)

AS_NODES = "pass --normalize without 'fold', which puts nodes in front"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The new constants of one convolution; bias and fill are None where they stay as they are.

    fill is the constant of the Pad before it, of a new one if takes_over says so. error is that of the
    rounding of the weight, relative to its largest number."""

    branch: Branch
    weight: Array
    bias: Array | None
    fill: Array | None
    takes_over: bool
    error: float


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written, and the mean that has to be subtracted in front (zeros if none)."""

    head: Head
    opset: int
    targets: tuple[Target, ...]
    kept_mean: Array

    @property
    def form(self) -> str:
        """Say in a word where the mean went."""
        if self.kept_mean.any():
            return "sub"
        if any(target.fill is not None for target in self.targets):
            return "padding"
        return "bias" if any(target.bias is not None for target in self.targets) else "scale"

    def write(self) -> list[ir.Node]:
        """Put the constants into the graph, and return the nodes that were added."""
        graph, added = self.head.graph, []
        for target in self.targets:
            conv, pad = target.branch.conv, target.branch.pad
            set_constant(graph, conv, 1, target.weight)
            if target.bias is not None:
                weight = conv.inputs[1]
                assert weight is not None
                set_constant(graph, conv, 2, target.bias, named=f"{str(weight.name).removesuffix('.weight')}.bias")
            if target.fill is not None and target.takes_over:
                added.append(put_pad_in_front(self.head, conv, self.opset, target.fill))
            elif target.fill is not None and pad is not None:
                set_fill_value(graph, pad, self.opset, target.fill)
        return added


def plan_fold(model: ir.Model, head: Head, shift: Array, scale: Array) -> Fold:
    """Work out the exact form; the model stays as it is. shift and scale are m and s, per channel, float64.

    Raises PassError if the image goes elsewhere than into convolutions, or if a constant over- or underflows."""
    opset = model.opset_imports.get("", 1)
    branches = first_convolutions(head, head.image, fix=AS_NODES)
    nothing = np.zeros_like(shift)
    for mean, kept in ((shift, nothing), (nothing, shift)):
        borders = [_border(branch, opset, mean, scale) for branch in branches]
        if not all(border.exact for border in borders) or sum(border.takes_over for border in borders) > 1:
            continue
        if mean.any() and not all(_has_constant_bias(branch.conv) for branch in branches):
            continue
        targets = (_target(head, *pair, mean, scale) for pair in zip(branches, borders, strict=True))
        return Fold(head=head, opset=opset, targets=tuple(targets), kept_mean=kept)
    name = next(str(branch.pad.name) for branch in branches if branch.pad is not None)
    raise PassError(f"what node '{name}' (Pad) adds would differ from channel to channel", fix=AS_NODES)


class _Border(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the mean can go into the bias, and the constant that a Pad then needs (None: as it is)."""

    exact: bool
    fill: float | None = None
    takes_over: bool = False


def _border(branch: Branch, opset: int, mean: Array, scale: Array) -> _Border:
    constant = None if branch.pad is None else fill_value(branch.pad, opset, fix=AS_NODES)
    if pads_itself(branch.conv) and mean.any():
        alone = branch.pad is None and explicit_pads(branch.conv) is not None
        return _Border(exact=alone and _is_shared(mean), fill=float(mean[0]), takes_over=True)
    if constant is None:
        return _Border(exact=True)
    cells = constant * scale + mean
    fill = float(cells[0])
    return _Border(exact=_is_shared(cells), fill=None if fill == constant else fill)


def _is_shared(numbers: Array) -> bool:
    return bool((numbers == numbers[0]).all())


def _has_constant_bias(conv: ir.Node) -> bool:
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    return bias is None or edit.constant(bias) is not None


def _target(head: Head, branch: Branch, border: _Border, mean: Array, scale: Array) -> Target:
    conv = branch.conv
    weight = branch.weight.astype(np.float64)
    channels = branch.channels_of_weight
    exact = weight / scale[channels][:, :, None, None]
    bias = None
    if mean.any():
        old = edit.constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
        zeros = np.zeros(len(weight)) if old is None else old.astype(np.float64)
        bias = zeros - (exact.sum(axis=(2, 3)) * mean[channels]).sum(axis=1)
        bias = round_once(bias, head.dtype, f"the bias of '{conv.name}'")
    fill = None if border.fill is None else np.array(border.fill)
    rounded = round_once(exact, head.dtype, f"the weight of '{conv.name}'")
    return Target(
        branch=branch,
        weight=rounded,
        bias=bias,
        fill=None if fill is None else round_once(fill, head.dtype, "the constant of the padding"),
        takes_over=border.takes_over,
        error=relative_error(rounded, exact),
    )
