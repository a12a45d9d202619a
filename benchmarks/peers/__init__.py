"""Other ways from timm to a file: one script each, run in a process of its own in the peers' environment.

    python -m benchmarks.peers.NAME MODEL FILE --size 192 --opset 11

None of them imports nfexport. Each follows the documentation and the defaults of its tool; deviations are
stated in its docstring.
"""
