"""numpy, onnx and onnx_ir, imported when one of their attributes is first asked for.

    from nfexport.graph.libraries import common_passes, ir, np, onnx

Graph passes are modules that a help page reads (their options, their order, their formulas), and onnx_ir alone takes
half a second to import, most of it sympy's. Modules that are read so take the three from here, and use none of their
names while they are imported themselves. lazy_loader.load does not serve: a statement `import numpy` elsewhere reads
the `__spec__` of the module, which loads it, and before Python 3.12.3 two threads that use such a module first at the
same time see it half made.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any, TypeAlias


class Library(types.ModuleType):
    """Stands for a module that is imported at the first use, and keeps the names that were asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir
    import onnx_ir.passes.common as common_passes
else:
    np, onnx, ir, common_passes = map(Library, ("numpy", "onnx", "onnx_ir", "onnx_ir.passes.common"))

Array: TypeAlias = "np.ndarray[Any, Any]"

__all__ = ["Array", "Library", "common_passes", "ir", "np", "onnx"]
