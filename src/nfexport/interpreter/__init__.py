"""Evaluates ONNX graphs with PyTorch: any file is a torch module, for float32, float64 and random rounding alike.

    graph_module.py      GraphModule, a torch.nn.Module made from a graph
    operator_table.py    which operators have a rule, and from which version on
    operators/           the rules, one file a family
    schema_functions.py  operators without a rule, by the function that their schema gives

Importing this package and asking for uncovered operators loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from nfexport.interpreter.coverage import uncovered_operators as uncovered_operators
    from nfexport.interpreter.graph_module import GraphModule as GraphModule

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"coverage": ["uncovered_operators"], "graph_module": ["GraphModule"]}
)
