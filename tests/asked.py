"""The steps that options ask for, without an export around them."""

from __future__ import annotations

from typing import Any

from nfexport.passes.base import Request
from nfexport.passes.plan import plan, step_of
from nfexport.recipe.interface import steps_in_front
from nfexport.recipe.recipe import PassStep, Preprocessing


def front_steps(network: Preprocessing | None, *, opset: int = 17, **values: Any) -> tuple[PassStep, ...]:
    """Return what these options put in front of a network of three channels."""
    request = Request(command="surgery", values=values, network=network, channels=3, opset=opset)
    return steps_in_front(step_of(item) for item in plan(request, ()))
