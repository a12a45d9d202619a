"""A runtime: ONNX Runtime without its graph optimisations, which shows the file as it stands."""

from __future__ import annotations

from nfexport.runtimes.session.protocol import Model, Runtime, Session


def open_session(model: Model) -> Session:
    """Load a file, with every optimisation off."""
    from nfexport.runtimes import onnxruntime

    session = onnxruntime.open_session(model, optimise=False)
    session.runtime = "unoptimised"
    return session


def _load() -> object:
    import onnxruntime

    return onnxruntime


RUNTIME = Runtime(
    name="unoptimised",
    summary="ONNX Runtime without graph optimisations",
    install="pip install onnxruntime",
    load=_load,
    open_session=open_session,
)
