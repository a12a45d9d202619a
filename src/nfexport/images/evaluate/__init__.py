"""Measure the accuracy of a file: top-1 and top-5 on images whose classes are known.

    folder ─dataset▶ images, classes ─batches▶ predictions of each runtime ─tally▶ accuracy, agreement

Images are decoded, and the file runs, in as many threads as there are cores (batches.py). Only a few small numbers
per image are kept (journal.py, tally.py), so memory hardly grows with the number of images.
"""
