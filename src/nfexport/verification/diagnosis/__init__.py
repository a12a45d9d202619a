"""Where a file leaves its PyTorch model, and why.

    file ──file_tensors▶ tensors ─┐
    model ─capture─────▶ steps ───┴─step_matches▶ localisation ─▶ first node at fault ─hints, experiments

bisection.py joins these; html_page.py and plot.py draw what it found.
"""
