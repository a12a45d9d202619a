"""Keys of an ir.Model's meta, through which tracing tells the passes what the graph itself does not say."""

from __future__ import annotations

PARAMETERS = "nfexport.parameters"
"""The names of the traced module's parameters and buffers, as in its state dict."""

STANDARDISED = "nfexport.standardised"
"""By the name of a weight, the standardisation that tracing left out of the graph: a Standardisation, and its gain as
a tensor. Only convolutions may read such a weight."""
