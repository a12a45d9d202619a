"""Where a file leaves its PyTorch model, and why.

    file ─exposing▶ tensors ─┐
    model ─capture▶ steps ───┴─matching▶ localising ─▶ the first node at fault ─hints, experiments▶ in words

bisecting.py is the spine; report.py and plot.py make pages and pictures of what it found.
"""
