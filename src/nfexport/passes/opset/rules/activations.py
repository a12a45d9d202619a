"""Activation functions that an older opset has to spell out.

    Gelu (20)       0.5·x·(1 + erf(x / √2));  tanh form: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
    HardSwish (14)  x · HardSigmoid(x; alpha = 1/6, beta = 1/2)
    Mish (18)       x · tanh(softplus(x))
    Swish (24)      x · sigmoid(alpha·x)
    Celu (12)       alpha · elu(x / alpha)

The Erf form is written in the order in which PyTorch's exporter writes it: runtimes recognise and fuse that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, where_missing

SketchedValues = Sequence[SketchedValue | None]


def gelu(site: RewriteSite) -> SketchedValues:
    """Spell out both forms of Gelu."""
    x = site.x()
    if site.attribute("approximate", "none") == "tanh":
        cube = site.emit("Mul", site.emit("Mul", x, x), x)
        inner = site.emit("Add", x, site.emit("Mul", cube, site.like(0.044715, x)))
        curve = site.emit("Tanh", site.emit("Mul", inner, site.like(math.sqrt(2 / math.pi), x)))
    else:
        curve = site.emit("Erf", site.emit("Div", x, site.like(math.sqrt(2), x)))
    product = site.emit("Mul", x, site.emit("Add", curve, site.like(1, x)))
    return [site.emit("Mul", product, site.like(0.5, x))]


def hard_swish(site: RewriteSite) -> SketchedValues:
    """Spell out HardSwish."""
    x = site.x()
    return [site.emit("Mul", x, site.emit("HardSigmoid", x, alpha=1 / 6, beta=0.5))]


def mish(site: RewriteSite) -> SketchedValues:
    """Spell out Mish."""
    x = site.x()
    return [site.emit("Mul", x, site.emit("Tanh", site.emit("Softplus", x)))]


def swish(site: RewriteSite) -> SketchedValues:
    """Spell out Swish; an alpha of 1, its default, costs no multiplication."""
    x = site.x()
    alpha = site.attribute("alpha", 1.0)
    scaled = x if alpha == 1 else site.emit("Mul", x, site.like(alpha, x))
    return [site.emit("Mul", x, site.emit("Sigmoid", scaled))]


def celu(site: RewriteSite) -> SketchedValues:
    """Spell out Celu; with an alpha of 1, its default, it is Elu."""
    x = site.x()
    alpha = site.attribute("alpha", 1.0)
    if alpha == 1:
        return [site.emit("Elu", x, alpha=1.0)]
    curve = site.emit("Elu", site.emit("Div", x, site.like(alpha, x)), alpha=1.0)
    return [site.emit("Mul", curve, site.like(alpha, x))]


RULES: dict[str, Rule] = {
    "Celu": where_missing(celu),
    "Gelu": where_missing(gelu),
    "HardSwish": where_missing(hard_swish),
    "Mish": where_missing(mish),
    "Swish": where_missing(swish),
}
