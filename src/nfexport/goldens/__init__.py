"""What a file was, and what it has to compute: recorded once against PyTorch, checked without it.

    record: file, PyTorch ─verification▶ expected outputs, limits ─▶ folder     (workflows.golden, writer.py)
    check:  folder, file ─fingerprint▶ what has changed ─runtime▶ numbers ─▶ result             (golden_check.py)

A golden is a folder in the layout of ONNX's own backend tests, with a manifest beside the data sets.
"""
