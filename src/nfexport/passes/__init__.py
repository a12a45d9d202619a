"""Graph passes: one class in one file each (see base.py).

    registry.py    finds the passes and sorts them
    plan.py        selects the passes for a request, and runs them
    ledger.py      runs passes and records what each one did
    allowances.py  tells the verifier what the passes may have changed
    catalogue.py   describes the passes as a table
    recorded.py    reads a recipe and validates its steps

Importing a pass is cheap: numpy, onnx and onnx_ir are imported on first use.
"""
