"""Graph surgery on any ONNX file: read it safely, run passes with a ledger, compare the outcome with it."""
