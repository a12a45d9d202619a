"""How often a file is right: top-1 and top-5 on pictures whose classes are known.

    folder ─dataset▶ pictures, classes ─batches▶ what each runtime answers ─tally▶ accuracy, agreement

Pictures are decoded, and the file is run, in as many threads as there are cores (batches.py); what is known
of each picture are a few small numbers (journal.py, tally.py), so memory does not grow with their number.
"""
