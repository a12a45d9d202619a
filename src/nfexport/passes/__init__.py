"""Graph passes: one class in one file each (see base.py).

    registry.py    which passes there are, and their order
    plan.py        from what is asked for to the passes that do it, and running them
    ledger.py      running them with a record of what each did
    allowances.py  what a verification may still rely on after them
    catalogue.py   what they declare, as a table
    recorded.py    reading a recipe, whose steps they validate

Importing a pass costs little, since numpy, onnx and onnx_ir are imported when they are first used.
"""
