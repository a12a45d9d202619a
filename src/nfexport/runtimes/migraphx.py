"""AMD's MIGraphX, by its Python module, or by ONNX Runtime's execution provider of that name.

Both come with ROCm, neither from a package index. A program of MIGraphX has fixed sizes, so there is one for
each shape that the session is fed, compiled when it comes up. fast_math, on by default, is turned off.
Source: MIGraphX's Python API reference (rocm.docs.amd.com/projects/AMDMIGraphX, reference/MIGraphX-py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nfexport.runtimes.session.declared import Declared, read, refused
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROVIDER = "MIGraphXExecutionProvider"

GPU, REFERENCE = "gpu", "ref"
"""What MIGraphX compiles for."""


class MigraphxSession:
    """See Session. providers holds the target that it compiles for."""

    runtime = "migraphx"

    def __init__(self, module: Any, model: Model, declared: Declared) -> None:
        self._migraphx = module
        self._model = model
        self._declared = declared
        self._name, self._target = _target(module)
        self._programs: dict[tuple[tuple[int, ...], ...], Any] = {}
        self.version = _version(module)
        self.providers: tuple[str, ...] = (self._name,)
        self.inputs: Mapping[str, tuple[int | str, ...]] = declared.inputs
        self.outputs: tuple[str, ...] = declared.outputs
        self._program(
            {name: [1 if isinstance(n, str) else n for n in shape] for name, shape in declared.inputs.items()}
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        import numpy as np

        self._declared.check_feeds(feeds)
        # an argument is a view of the array, which has to outlive the run
        arrays = {name: np.ascontiguousarray(feeds[name]) for name in self.inputs}
        try:
            program = self._program({name: list(array.shape) for name, array in arrays.items()})
            results = program.run({name: self._migraphx.argument(array) for name, array in arrays.items()})
        except Exception as error:
            raise RuntimeError(one_line(str(error))) from error
        # copied, as the next run writes into the same memory
        return {name: np.array(result) for name, result in zip(self.outputs, results, strict=True)}

    def _program(self, sizes: Mapping[str, list[int]]) -> Any:
        key = tuple(tuple(shape) for shape in sizes.values())
        if key not in self._programs:
            if isinstance(self._model, bytes):
                program = self._migraphx.parse_onnx_buffer(self._model, map_input_dims=dict(sizes))
            else:
                program = self._migraphx.parse_onnx(str(self._model), map_input_dims=dict(sizes))
            program.compile(self._target, offload_copy=True, fast_math=False)
            self._programs[key] = program
        return self._programs[key]


def open_session(model: Model) -> Session:
    """Load a file or its bytes, for the GPU, or for MIGraphX's reference where there is none.

    Raises OnnxFileError with MIGraphX's reason if it refuses them."""
    migraphx = _load()
    if migraphx is None:
        from nfexport.runtimes.onnxruntime import open_session as open_in_onnxruntime

        session = open_in_onnxruntime(model, providers=(PROVIDER,))
        session.runtime = MigraphxSession.runtime
        return session
    reader = f"MIGraphX {_version(migraphx)}"
    _, declared = read(model, reader=reader)
    try:
        return MigraphxSession(migraphx, model, declared)
    except Exception as error:
        raise refused(model, reader, one_line(str(error))) from error


def _version(module: Any) -> str:
    return str(getattr(module, "__version__", "of unknown version"))


def _target(module: Any) -> tuple[str, Any]:
    """Return the GPU if it is available, and else MIGraphX's reference on the CPU: its name and the target."""
    try:
        return GPU, module.get_target(GPU)
    except Exception:  # noqa: BLE001 (whatever the loader of the target's library raises)
        return REFERENCE, module.get_target(REFERENCE)


def _load() -> Any:
    """Return MIGraphX's module; None where ONNX Runtime's provider serves instead."""
    try:
        import migraphx
    except ImportError:
        import onnxruntime

        if PROVIDER not in onnxruntime.get_available_providers():
            raise ImportError(
                f"there is no module 'migraphx', and ONNX Runtime {onnxruntime.__version__} has no {PROVIDER} here"
            ) from None
        return None
    return migraphx


RUNTIME = Runtime(
    name="migraphx",
    summary="AMD's MIGraphX, for its GPU or its reference",
    install="install ROCm with MIGraphX, which is on no package index, and put its module on PYTHONPATH",
    load=_load,
    open_session=open_session,
)
