"""The facts of a file and its expected outputs, recorded once against PyTorch, and checked without it.

    record: file, PyTorch ─verification▶ expected outputs, limits ─▶ folder     (workflows.golden, writer.py)
    check:  folder, file ─fingerprint▶ what has changed ─runtime▶ numbers ─▶ result             (golden_check.py)

A golden is a folder in the layout of ONNX's own backend tests, with a manifest next to the data sets.
"""
